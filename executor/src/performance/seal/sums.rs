//! Percentiles, sketches and counts of a spool's stages, one column at a time.

use plimsoll_ingest::spool::SpoolContents;
use plimsoll_ingest::{Phase, Sketch, StageRow};

use crate::load::percentile::{Percentiles, PooledCount, PooledSelection, percentiles};
use crate::load::stage::{
    RequestColumn, StageLatencies, StageStats, StageTally, StageWindow, in_flight_max,
};
use crate::performance::columns::{ReadError, for_each_gap, for_each_request};

/// What the whole of a spool comes to, stage by stage and over all steady ones.
pub(super) struct Sums {
    pub(super) stats: Vec<StageStats>,
    pub(super) sketches: Vec<StageSketches>,
    pub(super) steady: StageLatencies,
    pub(super) lag_p99: Option<i64>,
}

impl Sums {
    /// Sums up the facts of a spool whose stages stood last as `rows`, in order.
    pub(super) fn of(contents: &SpoolContents, rows: &[StageRow]) -> Result<Self, ReadError> {
        Columns { contents, rows }.sums()
    }
}

/// The sketches of a stage's latencies, as they are stored.
pub(super) struct StageSketches {
    pub(super) ttft: Option<Vec<u8>>,
    pub(super) tpot: Option<Vec<u8>>,
    pub(super) itl: Option<Vec<u8>>,
    pub(super) e2e: Option<Vec<u8>>,
}

/// One latency, worked out.
struct Column {
    by_stage: Vec<Option<Percentiles>>,
    sketches: Vec<Option<Vec<u8>>>,
    steady: Option<Percentiles>,
}

/// A sketch as it is stored; `None` of no values.
fn stored(sketch: &Sketch) -> Option<Vec<u8>> {
    (sketch.count() > 0).then(|| sketch.to_bytes())
}

/// Works through the spool one column at a time.
struct Columns<'a> {
    contents: &'a SpoolContents,
    rows: &'a [StageRow],
}

impl Columns<'_> {
    fn index(&self, stage: i64) -> Option<usize> {
        self.rows.binary_search_by_key(&stage, |row| row.stage).ok()
    }

    fn is_steady(&self, index: usize) -> bool {
        self.rows[index].phase == Phase::Steady.as_str()
    }

    fn sums(&self) -> Result<Sums, ReadError> {
        let windows = windows_of(self.rows);
        let mut tallies: Vec<_> = windows
            .iter()
            .map(|window| StageTally::new(*window))
            .collect();
        for_each_request(self.contents, |_, facts| {
            // A request may reach into the stage after its own, no further.
            let own = self.index(facts.stage).unwrap_or(0);
            for tally in tallies.iter_mut().skip(own).take(2) {
                tally.add(facts);
            }
        })?;
        let mut ttft = self.column(RequestColumn::Ttft)?;
        let mut tpot = self.column(RequestColumn::Tpot)?;
        let mut e2e = self.column(RequestColumn::E2e)?;
        let queue = self.column(RequestColumn::Queue)?;
        let lag = self.column(RequestColumn::Lag)?;
        let mut itl = self.gaps()?;
        let in_flight = self.in_flight(&windows)?;
        let stats = tallies.into_iter().enumerate().map(|(index, tally)| {
            let latencies = StageLatencies {
                ttft: ttft.by_stage[index],
                tpot: tpot.by_stage[index],
                itl: itl.by_stage[index],
                e2e: e2e.by_stage[index],
                queue: queue.by_stage[index],
            };
            let lag = lag.by_stage[index].map(|lag| lag.p99);
            tally.finish(latencies, lag, in_flight[index])
        });
        let stats = stats.collect();
        let sketches = (0..self.rows.len()).map(|index| StageSketches {
            ttft: ttft.sketches[index].take(),
            tpot: tpot.sketches[index].take(),
            itl: itl.sketches[index].take(),
            e2e: e2e.sketches[index].take(),
        });
        Ok(Sums {
            stats,
            sketches: sketches.collect(),
            steady: StageLatencies {
                ttft: ttft.steady,
                tpot: tpot.steady,
                itl: itl.steady,
                e2e: e2e.steady,
                queue: queue.steady,
            },
            lag_p99: lag.steady.map(|lag| lag.p99),
        })
    }

    /// One latency of requests.
    fn column(&self, column: RequestColumn) -> Result<Column, ReadError> {
        let mut values: Vec<Vec<i64>> = vec![Vec::new(); self.rows.len()];
        for_each_request(self.contents, |_, facts| {
            if let (Some(index), Some(value)) = (self.index(facts.stage), column.value(facts)) {
                values[index].push(value);
            }
        })?;
        let sketch = |values: &Vec<i64>| -> Option<Vec<u8>> {
            if matches!(column, RequestColumn::Queue | RequestColumn::Lag) {
                return None;
            }
            stored(&values.iter().map(|value| *value as f64).collect())
        };
        let sketches = values.iter().map(sketch).collect();
        let by_stage = values
            .iter_mut()
            .map(|values| percentiles(values))
            .collect();
        let mut steady: Vec<i64> = Vec::new();
        for (index, values) in values.into_iter().enumerate() {
            if self.is_steady(index) {
                steady.extend(values);
            }
        }
        Ok(Column {
            by_stage,
            sketches,
            steady: percentiles(&mut steady),
        })
    }

    /// The pooled gaps of ok requests: two passes, since there are far more
    /// gaps than requests.
    fn gaps(&self) -> Result<Column, ReadError> {
        const NONE: u16 = u16::MAX;
        let mut stage_of: Vec<u16> = Vec::new();
        for_each_request(self.contents, |request_id, facts| {
            let number = usize::try_from(request_id).unwrap_or(0);
            if number >= stage_of.len() {
                stage_of.resize(number + 1, NONE);
            }
            let index = self.index(facts.stage).filter(|_| facts.is_ok());
            stage_of[number] = index
                .and_then(|index| u16::try_from(index).ok())
                .unwrap_or(NONE);
        })?;
        let index_of = |request_id: i64| {
            let number = usize::try_from(request_id).ok()?;
            stage_of
                .get(number)
                .filter(|index| **index != NONE)
                .map(|index| usize::from(*index))
        };
        let mut counts = vec![PooledCount::default(); self.rows.len()];
        let mut all = PooledCount::default();
        for_each_gap(self.contents, |request_id, gap| {
            if let Some(index) = index_of(request_id) {
                counts[index].add(gap);
                if self.is_steady(index) {
                    all.add(gap);
                }
            }
        })?;
        let mut by_stage: Vec<PooledSelection> =
            counts.iter().map(PooledCount::selection).collect();
        drop(counts);
        let mut steady = all.selection();
        let mut sketches = vec![Sketch::new(); self.rows.len()];
        for_each_gap(self.contents, |request_id, gap| {
            if let Some(index) = index_of(request_id) {
                by_stage[index].add(gap);
                sketches[index].add(gap as f64);
                if self.is_steady(index) {
                    steady.add(gap);
                }
            }
        })?;
        let by_stage = by_stage
            .into_iter()
            .map(PooledSelection::percentiles)
            .collect();
        Ok(Column {
            by_stage,
            sketches: sketches.iter().map(stored).collect(),
            steady: steady.percentiles(),
        })
    }

    /// Most requests in flight at once, by stage.
    fn in_flight(&self, windows: &[StageWindow]) -> Result<Vec<i64>, ReadError> {
        let mut moments: Vec<(Vec<i64>, Vec<i64>)> = vec![Default::default(); windows.len()];
        for_each_request(self.contents, |_, facts| {
            let own = self.index(facts.stage).unwrap_or(0);
            for (index, (sent, done)) in moments.iter_mut().enumerate().skip(own).take(2) {
                let reaches_in = facts.done_ns > windows[index].started_ns;
                if index == own || reaches_in {
                    sent.push(facts.sent_ns);
                    done.push(facts.done_ns);
                }
            }
        })?;
        Ok(moments
            .iter_mut()
            .map(|(sent, done)| in_flight_max(sent, done))
            .collect())
    }
}

/// The windows of stages in their order.
fn windows_of(rows: &[StageRow]) -> Vec<StageWindow> {
    let before = std::iter::once(None).chain(rows.iter().map(Some));
    let windows = rows.iter().zip(before);
    windows
        .map(|(row, before)| {
            let warm_up = before.filter(|before| {
                before.phase == Phase::WarmUp.as_str() && before.offered_rps == row.offered_rps
            });
            StageWindow {
                warmed_ns: warm_up.map_or(0, |warm_up| warm_up.duration_ns),
                ..window_of(row)
            }
        })
        .collect()
}

fn window_of(row: &StageRow) -> StageWindow {
    StageWindow {
        stage: row.stage,
        phase: row.phase.parse().unwrap_or(Phase::Steady),
        started_ns: row.started_ns,
        duration_ns: row.duration_ns,
        offered_rps: row.offered_rps,
        warmed_ns: 0,
        missed: row.missed,
    }
}
