//! Rows that are too large for batches of the usual number.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode as _;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::unnest::UnnestExec;

use super::{Batches, Room, TooLarge, grows};
use crate::metered::bytes_of;

/// Rows that a batch has at least, where there are as many: with fewer, all the other rows of a query take
/// too long.
const FEWEST: usize = 8;

/// The same where rows are made of many others, which come in as many batches.
const FEWEST_OF_GROUPS: usize = 256;

/// Where to look, and how few rows a batch may have for it.
#[derive(Debug, Clone)]
pub(crate) struct Looked {
    room: Room,
    fewest: usize,
}

impl Looked {
    /// At the rows of a plan, where a batch of them may be too large, and they come from nothing that looks
    /// already.
    pub(crate) fn at(plan: &Arc<dyn ExecutionPlan>, room: &Room) -> Result<Option<Self>> {
        let makes_values =
            plan.children().is_empty() || plan.is::<ProjectionExec>() || plan.is::<UnnestExec>();
        let schema = plan.schema();
        let kinds = schema.fields().iter().map(|field| field.data_type());
        let of_one_size = kinds.clone().filter_map(DataType::primitive_width);
        let bytes = of_one_size.sum::<usize>() * room.usual;
        let may_be_large = bytes > room.batch() || kinds.into_iter().any(grows);
        if !makes_values || !may_be_large {
            return Ok(None);
        }
        let of_groups = plan.exists(|plan| Ok(plan.is::<AggregateExec>()))?;
        Ok(Some(Self {
            room: room.clone(),
            fewest: if of_groups { FEWEST_OF_GROUPS } else { FEWEST },
        }))
    }

    pub(crate) fn passing(&self) -> Passing {
        Passing {
            looked: self.clone(),
            rows: 0,
            bytes: 0,
        }
    }
}

/// Rows that pass, of which an operator may put as many together as a batch has.
#[derive(Debug)]
pub(crate) struct Passing {
    looked: Looked,
    rows: usize,
    bytes: usize,
}

impl Passing {
    /// Ends the attempt where a batch of such rows is too large, and one of fewer would not be.
    pub(crate) fn pass(&mut self, batch: &RecordBatch) -> Result<()> {
        let Looked { room, fewest } = &self.looked;
        let (usual, most, fewest) = (room.usual, room.batch(), *fewest);
        self.rows += batch.num_rows();
        self.bytes += bytes_of(batch);
        // A few rows are no more than they are, however large.
        if self.bytes > most && self.rows >= fewest && usual > fewest {
            let fitting = (most / 2).saturating_mul(self.rows) / self.bytes;
            let others = fitting.clamp(fewest, (usual / 2).max(fewest));
            let joined = room.rows.min(others);
            if room.attempt.gives_way_to(Batches { joined, others }) {
                let (rows, bytes) = (self.rows, self.bytes);
                let message = format!("{rows} rows have {bytes} bytes, and a batch {usual} rows");
                return Err(TooLarge::new(message).into());
            }
        }
        if self.rows >= usual {
            (self.rows, self.bytes) = (0, 0);
        }
        Ok(())
    }
}
