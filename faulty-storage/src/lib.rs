//! Object storage in memory that fails as storage over a network does, for tests of what goes on
//! over it: by a seed, or at the one operation that a test names.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Rounds where nobody asks for more.
const FEW_ROUNDS: u64 = 2;

/// How many random rounds of faults there are to be: as many as `PLIMSOLL_FAULT_ROUNDS` says.
///
/// # Panics
/// Where it says no number.
pub fn rounds() -> u64 {
    let asked = std::env::var("PLIMSOLL_FAULT_ROUNDS");
    asked.map_or(FEW_ROUNDS, |text| text.parse().expect("a number"))
}

/// Of how many operations one is tried: of `short` where there is little time, else each.
pub fn step(short: u64) -> u64 {
    if rounds() > FEW_ROUNDS { 1 } else { short }
}

/// What becomes of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is done, and answered.
    Done,
    /// It is not done: 503, or a connection that could not be made.
    Refused,
    /// It is done, and the answer is lost on the way back.
    AnswerLost,
    /// A write that is answered with 409 and not done.
    Conflict,
    /// A write that is given up by the client, and done some operations later.
    Late,
    /// Whoever asked dies before it is done.
    DiesBefore,
    /// Whoever asked dies when it was done.
    DiesAfter,
    /// It is done, but only after somebody else has done all that they do.
    Overtaken,
}

impl Fate {
    /// What may go wrong with a write, the worst first.
    pub const FAULTS: [Self; 6] = [
        Self::AnswerLost,
        Self::DiesAfter,
        Self::DiesBefore,
        Self::Refused,
        Self::Conflict,
        Self::Late,
    ];
}

/// How many operations a late write is late.
const LATE_BY: u64 = 20;

/// A write that storage will do yet.
struct Pending {
    /// It is done before the operation of this number.
    at: u64,
    location: Path,
    payload: PutPayload,
    mode: PutMode,
}

/// How operations are dealt their fates.
enum Fates {
    /// All are done.
    Healthy,
    /// One operation in so many meets a fate other than [`Fate::Done`].
    Seeded {
        random: Box<ChaCha8Rng>,
        one_in: u32,
    },
    /// The operation of this number has this fate, all others are done.
    At { operation: u64, fate: Fate },
}

struct State {
    fates: Fates,
    operations: u64,
    pending: Vec<Pending>,
    met: Vec<Fate>,
    /// Whoever had this way died: nothing of what it asks is done any more.
    dead: bool,
    /// Writes of objects in whose path this stands are refused.
    refused: Option<&'static str>,
    /// What the one who overtakes does.
    overtaker: Option<BoxFuture<'static, ()>>,
}

/// Storage in memory whose operations meet fates.
#[derive(Clone)]
pub struct Faulty {
    inner: Arc<InMemory>,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty storage")
    }
}

fn broken(what: &str) -> Error {
    Error::Generic {
        store: "faulty",
        source: what.to_string().into(),
    }
}

impl Faulty {
    fn with(inner: Arc<InMemory>, fates: Fates) -> Arc<Self> {
        let state = State {
            fates,
            operations: 0,
            pending: Vec::new(),
            met: Vec::new(),
            dead: false,
            refused: None,
            overtaker: None,
        };
        Arc::new(Self {
            inner,
            state: Arc::new(Mutex::new(state)),
        })
    }

    /// A way to `inner` on which all goes well.
    pub fn healthy(inner: Arc<InMemory>) -> Arc<Self> {
        Self::with(inner, Fates::Healthy)
    }

    /// A way to `inner` on which one operation in `one_in` goes wrong.
    pub fn seeded(inner: Arc<InMemory>, seed: u64, one_in: u32) -> Arc<Self> {
        let random = Box::new(ChaCha8Rng::seed_from_u64(seed));
        Self::with(inner, Fates::Seeded { random, one_in })
    }

    /// A way to `inner` on which one operation has this fate.
    pub fn at(inner: Arc<InMemory>, operation: u64, fate: Fate) -> Arc<Self> {
        Self::with(inner, Fates::At { operation, fate })
    }

    /// A way to `inner` on which no object is written in whose path `part` stands.
    pub fn refusing(inner: Arc<InMemory>, part: &'static str) -> Arc<Self> {
        let way = Self::healthy(inner);
        way.state.lock().expect("no test panics here").refused = Some(part);
        way
    }

    fn refuses(&self, location: &Path) -> bool {
        let refused = self.state.lock().expect("no test panics here").refused;
        refused.is_some_and(|part| location.as_ref().contains(part))
    }

    /// A way to `inner` on which somebody else does all of `overtaker` before one operation.
    pub fn overtaken(
        inner: Arc<InMemory>,
        operation: u64,
        overtaker: BoxFuture<'static, ()>,
    ) -> Arc<Self> {
        let way = Self::at(inner, operation, Fate::Overtaken);
        way.state.lock().expect("no test panics here").overtaker = Some(overtaker);
        way
    }

    fn overtaker(&self, fate: Fate) -> Option<BoxFuture<'static, ()>> {
        let mut state = self.state.lock().expect("no test panics here");
        state.overtaker.take_if(|_| fate == Fate::Overtaken)
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.state.lock().expect("no test panics here").operations
    }

    /// The fates that were met, other than [`Fate::Done`].
    pub fn met(&self) -> Vec<Fate> {
        self.state.lock().expect("no test panics here").met.clone()
    }

    /// Deals the next operation its fate, and takes what was late until now.
    fn deal(&self, writes: bool) -> (Fate, Vec<Pending>) {
        let mut state = self.state.lock().expect("no test panics here");
        let operation = state.operations;
        state.operations += 1;
        if state.dead {
            return (Fate::Refused, Vec::new());
        }
        let fate = match &mut state.fates {
            Fates::Healthy => Fate::Done,
            Fates::At {
                operation: at,
                fate,
            } if *at == operation => *fate,
            Fates::At { .. } => Fate::Done,
            Fates::Seeded { random, one_in } => match random.random_range(0..*one_in) {
                0 => seeded_fate(random, writes),
                _ => Fate::Done,
            },
        };
        if fate != Fate::Done {
            state.met.push(fate);
        }
        state.dead |= matches!(fate, Fate::DiesBefore | Fate::DiesAfter);
        let pending = std::mem::take(&mut state.pending);
        let (due, later): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|write| write.at <= operation);
        state.pending = later;
        (fate, due)
    }

    /// The next operation's fate.
    async fn fate(&self, writes: bool) -> Fate {
        let (fate, due) = self.deal(writes);
        self.write(due).await;
        match self.overtaker(fate) {
            Some(overtaker) => {
                overtaker.await;
                Fate::Done
            }
            None => fate,
        }
    }

    async fn write(&self, due: Vec<Pending>) {
        for write in due {
            let options = PutOptions::from(write.mode);
            let put = self.inner.put_opts(&write.location, write.payload, options);
            // Nobody waits for its answer any more.
            drop(put.await);
        }
    }

    /// Does all that is late yet: it may be done after whoever asked is gone.
    pub async fn settle(&self) {
        let due = std::mem::take(&mut self.state.lock().expect("no test panics here").pending);
        self.write(due).await;
    }

    /// What a reading operation, or one without conditions, comes to.
    async fn meet<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        match self.fate(false).await {
            Fate::Done => operation.await,
            Fate::AnswerLost | Fate::DiesAfter => {
                drop(operation.await);
                Err(broken("connection reset"))
            }
            _ => Err(broken("503")),
        }
    }
}

fn seeded_fate(random: &mut ChaCha8Rng, writes: bool) -> Fate {
    const READS: [Fate; 3] = [Fate::Refused, Fate::AnswerLost, Fate::DiesBefore];
    let fates: &[Fate] = if writes { &Fate::FAULTS } else { &READS };
    fates[random.random_range(0..fates.len())]
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if self.refuses(location) {
            return Err(broken("503"));
        }
        match self.fate(true).await {
            Fate::Done => self.inner.put_opts(location, payload, options).await,
            Fate::AnswerLost | Fate::DiesAfter => {
                drop(self.inner.put_opts(location, payload, options).await);
                Err(broken("connection reset"))
            }
            Fate::Refused | Fate::DiesBefore | Fate::Overtaken => Err(broken("503")),
            Fate::Conflict => Err(Error::AlreadyExists {
                path: location.to_string(),
                source: "409".into(),
            }),
            Fate::Late => {
                let mut state = self.state.lock().expect("no test panics here");
                let at = state.operations + LATE_BY;
                state.pending.push(Pending {
                    at,
                    location: location.clone(),
                    payload,
                    mode: options.mode,
                });
                Err(broken("timed out"))
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if self.refuses(location) {
            return Err(broken("503"));
        }
        self.meet(self.inner.put_multipart_opts(location, options))
            .await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.meet(self.inner.get_opts(location, options)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let way = self.clone();
        let deleted = move |location: Result<Path>| {
            let way = way.clone();
            async move {
                let location = location?;
                way.meet(way.inner.delete(&location)).await?;
                Ok(location)
            }
        };
        locations.then(deleted).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        // A list fails as a whole or not at all; what is late waits for another operation.
        let (fate, late) = self.deal(false);
        self.state
            .lock()
            .expect("no test panics here")
            .pending
            .extend(late);
        if let Some(overtaker) = self.overtaker(fate) {
            let (inner, prefix) = (self.inner.clone(), prefix.cloned());
            let listed = async move {
                overtaker.await;
                inner.list(prefix.as_ref())
            };
            return stream::once(listed).flatten().boxed();
        }
        match fate {
            Fate::Done => self.inner.list(prefix),
            _ => stream::once(async { Err(broken("503")) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.meet(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.meet(self.inner.copy_opts(from, to, options)).await
    }
}
