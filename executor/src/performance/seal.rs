//! From a spool's facts to the rows that sum them up, and the seal.
//!
//! The same for a run that ended as planned and for one whose process died:
//! what decides is in the spool, and memory holds one column at a time.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use plimsoll_ingest::spool::{Spool, SpoolContents, SpoolError, Tag};
use plimsoll_ingest::{
    EnvelopeRow, JobRow, Phase, RequestRow, RunRow, StageRow, Table, TableRow, Timestamp, Verdict,
};
use serde_json::Value;

use super::columns::ReadError;
use super::unfinished::{Open, unfinished};
use crate::load::profile::Profile;
use crate::load::stage::{GeneratorReport, StageLatencies, StageStats};
use crate::slo::Slo;
use crate::verdict::{Ending, Judged, RunFacts, VerdictReason, judge};

mod sums;

use sums::{StageSketches, Sums};

/// Why a spool could not be sealed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Row(#[from] plimsoll_ingest::RowError),
    #[error(
        "the spool holds no row of its run that can be read; nothing of it is published, and its \
         folder stays as it is"
    )]
    NoRun,
}

/// How a run came to its end, as far as the spool does not say.
pub(super) struct RunEnd<'a> {
    pub(super) ending: Ending,
    pub(super) environment_change: Option<String>,
    pub(super) finished_at: FinishedAt,
    /// What is known of the job that the run belongs to.
    pub(super) job: JobEnd<'a>,
}

/// When a run ended.
pub(super) enum FinishedAt {
    /// At this moment.
    Moment(Timestamp),
    /// At the last moment that its spool knows of.
    LastKnown,
}

/// What becomes of a run's job with it.
pub(super) enum JobEnd<'a> {
    /// It goes on.
    GoesOn,
    /// It ends, after runs with these verdicts.
    After(&'a [Verdict]),
    /// Its process is gone; how many runs it had begun is in the spool.
    Lost,
}

/// Sums up a spool and seals it. Returns the run's row.
pub(super) fn seal(spool: &mut Spool, end: RunEnd<'_>) -> Result<RunRow, SealError> {
    // Rows that are added now would lie behind an earlier seal that was cut short, and go with it.
    spool.drop_cut_short_seal()?;
    let contents = spool.contents()?;
    let mut run: RunRow = draft(&contents)?.ok_or(SealError::NoRun)?;
    let stages = stage_rows(&contents)?;
    let Open {
        requests: unfinished,
        last_ns,
    } = unfinished(&contents, &run, &stages)?;
    let finished_at = match end.finished_at {
        FinishedAt::Moment(moment) => moment,
        FinishedAt::LastKnown => Timestamp::from_micros(run.started_at.micros() + last_ns / 1_000),
    };
    let contents = match unfinished.is_empty() {
        true => contents,
        false => {
            let rows = RequestRow::to_batch(&unfinished)?;
            spool.append(Tag::Facts(Table::Requests), &rows)?;
            spool.contents()?
        }
    };
    let summary = Summary::of(&contents, stages, &run, &end)?;
    summary.fill(&mut run, finished_at);
    let mut finals: Vec<(Table, RecordBatch)> = Vec::new();
    if let Some(envelope) = draft::<EnvelopeRow>(&contents)? {
        finals.push((Table::Envelopes, EnvelopeRow::to_batch(&[envelope])?));
    }
    finals.push((Table::Stages, StageRow::to_batch(&summary.rows())?));
    finals.push((Table::Runs, RunRow::to_batch(std::slice::from_ref(&run))?));
    let ended = match end.job {
        JobEnd::GoesOn => None,
        JobEnd::After(earlier) => Some(earlier),
        JobEnd::Lost => Some(&[][..]),
    };
    if let (Some(earlier), Some(mut job)) = (ended, draft::<JobRow>(&contents)?) {
        let all = earlier.iter().copied().chain([summary.judged.verdict]);
        job.verdict = Verdict::worst(all).unwrap_or(Verdict::Error).to_string();
        job.finished_at = finished_at;
        finals.push((Table::Jobs, JobRow::to_batch(&[job])?));
    }
    spool.seal(&finals)?;
    Ok(run)
}

/// The last drafted row of a table.
fn draft<R: TableRow>(contents: &SpoolContents) -> Result<Option<R>, SealError> {
    let mut last = None;
    for batch in contents.batches(Tag::Draft(R::TABLE)) {
        last = R::from_batch(&batch?)?.pop().or(last);
    }
    Ok(last)
}

/// The stages as they stood last, by number.
fn stage_rows(contents: &SpoolContents) -> Result<Vec<StageRow>, SealError> {
    let mut stages = BTreeMap::new();
    for batch in contents.batches(Tag::Draft(Table::Stages)) {
        for row in StageRow::from_batch(&batch?)? {
            stages.insert(row.stage, row);
        }
    }
    Ok(stages.into_values().collect())
}

/// All that a run's facts come to.
struct Summary {
    rows: Vec<StageRow>,
    stats: Vec<StageStats>,
    sketches: Vec<StageSketches>,
    /// Percentiles over all steady stages together.
    steady: StageLatencies,
    judged: Judged,
    lag_p99: Option<i64>,
    limit_finding: bool,
}

impl Summary {
    fn of(
        contents: &SpoolContents,
        rows: Vec<StageRow>,
        run: &RunRow,
        end: &RunEnd<'_>,
    ) -> Result<Self, SealError> {
        let (profile, slo) = question(run)?;
        let Sums {
            stats,
            sketches,
            steady,
            lag_p99,
        } = Sums::of(contents, &rows)?;
        let steady_stats = stats.iter().filter(|stage| stage.phase == Phase::Steady);
        let reports = steady_stats.map(StageStats::generator);
        let generator = GeneratorReport {
            schedule_lag_ns_p99: lag_p99,
            ttft_ns_p50: steady.ttft.map(|ttft| ttft.p50),
            sent: reports.clone().map(|report| report.sent).sum(),
            missed: reports.map(|report| report.missed).sum(),
            // Where no limit is looked for, the latencies of what was sent stand all the same.
            idle_slots: None,
        };
        let judged = judge(&RunFacts {
            judgement: profile.judgement(),
            slo: &slo,
            stages: &stats,
            generator,
            ending: end.ending.clone(),
            environment_change: end.environment_change.clone(),
        });
        let limit_finding = profile.limit_finding();
        Ok(Self {
            rows,
            stats,
            sketches,
            steady,
            judged,
            lag_p99,
            limit_finding,
        })
    }

    /// The rows of `stages`.
    fn rows(&self) -> Vec<StageRow> {
        let rows = self.rows.iter().zip(&self.stats).zip(&self.sketches);
        rows.map(|((row, stats), sketches)| filled(row, stats, sketches))
            .collect()
    }

    /// The stages that the headline figures describe.
    fn headline(&self) -> Vec<&StageStats> {
        let of_headline = |stage: &&StageStats| match self.judged.headline_stage {
            Some(number) => stage.stage == number,
            None => stage.phase == Phase::Steady && !self.limit_finding,
        };
        self.stats.iter().filter(of_headline).collect()
    }

    fn fill(&self, run: &mut RunRow, finished_at: Timestamp) {
        let judged = &self.judged;
        run.finished_at = finished_at;
        run.verdict = judged.verdict.to_string();
        run.verdict_reasons = serde_json::to_string::<[VerdictReason]>(&judged.reasons)
            .expect("reasons are plain data");
        run.headline_stage = judged.headline_stage;
        run.peak_goodput_rps = judged.peak_goodput_rps;
        run.peak_throughput_rps = judged.peak_throughput_rps;
        run.capacity_method = judged.peak_goodput_rps.map(|_| "grid".to_string());
        run.limit_found = judged.limit_found;
        run.schedule_lag_ns_p99 = self.lag_p99;
        let alone = self.stats.iter().zip(&self.rows).find(|(stats, row)| {
            stats.phase == Phase::Steady && row.concurrency == Some(1) && stats.ok > 0
        });
        run.floor_ttft_ns = alone.and_then(|(stats, _)| Some(stats.latencies.ttft?.p50));
        let headline = self.headline();
        let latencies = match (judged.headline_stage, headline.first()) {
            (Some(_), Some(stage)) => stage.latencies,
            (None, Some(_)) => self.steady,
            (_, None) => return,
        };
        fill_run_latencies(run, &latencies);
        let sum = |of: fn(&StageStats) -> i64| headline.iter().map(|stage| of(stage)).sum::<i64>();
        let (sent, ok, good) = (sum(|s| s.sent), sum(|s| s.ok), sum(|s| s.good));
        if sent > 0 {
            run.error_rate = Some((sent - ok) as f64 / sent as f64);
            run.slo_attainment = Some(good as f64 / sent as f64);
        }
        let seconds = sum(|stage| stage.duration_ns) as f64 / 1e9;
        let tokens: f64 = headline
            .iter()
            .map(|stage| stage.output_tokens_per_s * stage.duration_ns as f64 / 1e9)
            .sum();
        run.output_tokens_per_s = (seconds > 0.0).then(|| tokens / seconds);
    }
}

/// The profile and the objectives that a run's row says were used.
fn question(run: &RunRow) -> Result<(Profile, Slo), ReadError> {
    let fail = |reason: String| ReadError::Settings { reason };
    let config: Value =
        serde_json::from_str(&run.config).map_err(|error| fail(error.to_string()))?;
    let profile =
        Profile::from_settings(&config["profile"]).map_err(|error| fail(error.to_string()))?;
    let slo = config["slo"].as_str().unwrap_or_default();
    let slo = slo.parse().map_err(|error| fail(format!("{error}")))?;
    Ok((profile, slo))
}

macro_rules! spread {
    ($row:ident, $latencies:ident: $($metric:ident => $p50:ident $p90:ident $p95:ident $p99:ident),+) => {
        $(
            $row.$p50 = $latencies.$metric.map(|all| all.p50);
            $row.$p90 = $latencies.$metric.map(|all| all.p90);
            $row.$p95 = $latencies.$metric.map(|all| all.p95);
            $row.$p99 = $latencies.$metric.map(|all| all.p99);
        )+
    };
}

fn fill_run_latencies(row: &mut RunRow, latencies: &StageLatencies) {
    spread!(row, latencies:
        ttft => ttft_ns_p50 ttft_ns_p90 ttft_ns_p95 ttft_ns_p99,
        tpot => tpot_ns_p50 tpot_ns_p90 tpot_ns_p95 tpot_ns_p99,
        itl => itl_ns_p50 itl_ns_p90 itl_ns_p95 itl_ns_p99,
        e2e => e2e_ns_p50 e2e_ns_p90 e2e_ns_p95 e2e_ns_p99);
}

fn filled(row: &StageRow, stats: &StageStats, sketches: &StageSketches) -> StageRow {
    let mut row = row.clone();
    row.ttft_sketch.clone_from(&sketches.ttft);
    row.tpot_sketch.clone_from(&sketches.tpot);
    row.itl_sketch.clone_from(&sketches.itl);
    row.e2e_sketch.clone_from(&sketches.e2e);
    row.sent = stats.sent;
    row.ok = stats.ok;
    row.good = stats.good;
    row.errors = stats.errors;
    row.timeouts = stats.timeouts;
    row.throughput_rps = stats.throughput_rps;
    row.goodput_rps = stats.goodput_rps;
    row.output_tokens_per_s = Some(stats.output_tokens_per_s);
    row.prompt_tokens = stats.prompt_tokens;
    row.output_tokens = stats.output_tokens;
    row.prompt_tokens_asked = stats.prompt_tokens_asked;
    row.output_tokens_asked = stats.output_tokens_asked;
    row.token_chunks = stats.token_chunks;
    row.bundled_chunks = stats.bundled_chunks;
    row.in_flight_max = stats.in_flight_max;
    row.backlog_slope = stats.backlog.map(|trend| trend.slope_rps);
    row.achieved_ratio = stats.achieved_ratio;
    row.schedule_lag_ns_p99 = stats.schedule_lag_ns_p99;
    row.valid = stats.is_valid();
    let latencies = &stats.latencies;
    spread!(row, latencies:
        ttft => ttft_ns_p50 ttft_ns_p90 ttft_ns_p95 ttft_ns_p99,
        tpot => tpot_ns_p50 tpot_ns_p90 tpot_ns_p95 tpot_ns_p99,
        itl => itl_ns_p50 itl_ns_p90 itl_ns_p95 itl_ns_p99,
        e2e => e2e_ns_p50 e2e_ns_p90 e2e_ns_p95 e2e_ns_p99,
        queue => queue_ns_p50 queue_ns_p90 queue_ns_p95 queue_ns_p99);
    row
}
