//! Answers that are kept: the same question over the same snapshots has the
//! same answer.
//!
//! Snapshots never change, so nothing is ever wrong in here; what belongs to
//! an older set is not asked for any more and goes with time. Statements that
//! look at the clock or at chance themselves are left out. The views that say
//! whether a figure is older than 30 days look at it, too: their answers are
//! kept for a minute at most, like all others.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SessionState;
use datafusion::logical_expr::Volatility;
use moka::sync::Cache;
use serde_json::Value;

use crate::limits::Access;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(60);

/// No answer may take more than this part of the cache.
const LARGEST: usize = 8;

/// What makes two questions the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    /// The set of snapshots.
    generation: u64,
    access: Access,
    sql: String,
    /// The parameters as JSON.
    parameters: String,
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Arc<[RecordBatch]>,
}

/// Answers by their questions, bounded by what they take.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    kept: Option<Cache<Question, Answer>>,
    largest: usize,
    /// Names in statements whose answer may be another one the next time.
    volatile: Arc<[String]>,
}

impl Answers {
    /// Keeps answers in so many bytes; none at all in 0. `session` knows which functions look at the
    /// clock or at chance.
    pub(crate) fn in_bytes(bytes: usize, session: &SessionState) -> Self {
        let kept = (bytes > 0).then(|| {
            Cache::builder()
                .max_capacity(bytes as u64)
                .weigher(|question: &Question, answer: &Answer| {
                    let text = question.sql.len() + question.parameters.len();
                    u32::try_from(text + size(&answer.batches)).unwrap_or(u32::MAX)
                })
                .time_to_live(KEPT)
                .build()
        });
        let functions = session.scalar_functions().iter();
        let volatile = functions
            .filter(|(_, function)| function.signature().volatility != Volatility::Immutable)
            .map(|(name, _)| name.to_ascii_lowercase())
            // Keywords that are such functions, and statements about their own execution.
            .chain(["current_", "localtime", "explain", "show"].map(str::to_owned));
        Self {
            kept,
            largest: bytes / LARGEST,
            volatile: volatile.collect(),
        }
    }

    /// The question that a statement asks; `None` where its answer is not kept.
    ///
    /// A name that is only part of another counts, too: what is asked again once too often is slow
    /// and still right.
    pub(crate) fn question(
        &self,
        generation: u64,
        access: Access,
        sql: &str,
        parameters: &[Value],
    ) -> Option<Question> {
        self.kept.as_ref()?;
        let text = sql.to_ascii_lowercase();
        let repeats = !self
            .volatile
            .iter()
            .any(|name| text.contains(name.as_str()));
        repeats.then(|| Question {
            generation,
            access,
            sql: sql.trim().to_owned(),
            parameters: Value::from(parameters).to_string(),
        })
    }

    pub(crate) fn get(&self, question: &Question) -> Option<Answer> {
        self.kept.as_ref()?.get(question)
    }

    /// Gathers the answer to `question` while it is given out; `None` where it is not kept anyway.
    pub(crate) fn gather(&self, question: &Question, schema: SchemaRef) -> Option<Gathered> {
        Some(Gathered {
            answers: self.kept.clone()?,
            left: self.largest,
            question: question.clone(),
            schema,
            batches: Vec::new(),
        })
    }
}

fn size(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::get_array_memory_size).sum()
}

/// The batches of an answer so far.
pub(crate) struct Gathered {
    answers: Cache<Question, Answer>,
    left: usize,
    question: Question,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Gathered {
    /// Takes the next batch; `None` once the answer is too large to be kept.
    pub(crate) fn with(mut self, batch: &RecordBatch) -> Option<Self> {
        self.left = self.left.checked_sub(batch.get_array_memory_size())?;
        self.batches.push(batch.clone());
        Some(self)
    }

    /// Keeps the answer, which is whole now.
    pub(crate) fn keep(self) {
        let answer = Answer {
            schema: self.schema,
            batches: self.batches.into(),
        };
        self.answers.insert(self.question, answer);
    }
}
