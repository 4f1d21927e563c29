//! Who gets how much of the memory that queries have.
//!
//! The engine's own pool shares out all that there is among what can spill. A sort that has gathered
//! its share, or reads again what it spilled, then needs memory that it cannot do without: to merge
//! its rows it makes a key of each, which may be several times as large as the row. It fails where
//! there is none left, at a limit under which it could have gone on. So sorts gather less here.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use datafusion::common::resources_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
};

/// What the engine calls a part of a sort that gathers rows.
const SORT: &str = "ExternalSorter";

/// A sort may gather one part in so many of its share, which counts each row twice: then its merge has
/// room for keys of six times a row.
const GATHERED: usize = 4;

/// Whatever can spill may have one part in so many of all memory, while it is there: a plan for many
/// threads has a thousand parts that could spill, of which most hold nothing, and a share of that many
/// would not take one batch.
const AT_LEAST: usize = 128;

/// A pool that shares out its memory among what can spill.
#[derive(Debug)]
pub(crate) struct Shares {
    limit: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// How many can spill.
    spillers: usize,
    /// What they have, in bytes.
    spillable: usize,
    /// What all others have.
    others: usize,
}

impl Taken {
    fn by(&mut self, consumer: &MemoryConsumer) -> &mut usize {
        match consumer.can_spill() {
            true => &mut self.spillable,
            false => &mut self.others,
        }
    }

    /// How much more there is for a reservation.
    fn left(&self, reservation: &MemoryReservation, limit: usize) -> usize {
        let free = limit.saturating_sub(self.spillable + self.others);
        let consumer = reservation.consumer();
        if !consumer.can_spill() {
            return free;
        }
        let share = limit.saturating_sub(self.others) / self.spillers.max(1);
        let share = match consumer.name().starts_with(SORT) {
            true => share / GATHERED,
            false => share,
        };
        let share = share.max(limit / AT_LEAST);
        free.min(share.saturating_sub(reservation.size()))
    }
}

impl Shares {
    /// Of `limit` bytes.
    pub(crate) fn of(limit: usize) -> Self {
        Self {
            limit,
            taken: Mutex::default(),
        }
    }

    /// Nothing panics while it holds the lock.
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryPool for Shares {
    fn name(&self) -> &'static str {
        "shares"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.taken().spillers += usize::from(consumer.can_spill());
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.taken().spillers -= usize::from(consumer.can_spill());
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *self.taken().by(reservation.consumer()) += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        *self.taken().by(reservation.consumer()) -= shrink;
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut taken = self.taken();
        let left = taken.left(reservation, self.limit);
        if additional > left {
            let [wanted, left, limit] = [additional, left, self.limit].map(human_readable_size);
            let name = reservation.consumer().name();
            return Err(resources_datafusion_err!(
                "{name} needs {wanted} more, and {left} of {limit} are left for it"
            ));
        }
        *taken.by(reservation.consumer()) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let taken = self.taken();
        taken.spillable + taken.others
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shares of {}", human_readable_size(self.limit))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn reserve(pool: &Arc<dyn MemoryPool>, name: &str, spills: bool) -> MemoryReservation {
        MemoryConsumer::new(name)
            .with_can_spill(spills)
            .register(pool)
    }

    #[test]
    fn whoever_holds_something_has_room_among_many_that_hold_nothing() {
        let pool: Arc<dyn MemoryPool> = Arc::new(Shares::of(1 << 20));
        let others: Vec<_> = (0..1000)
            .map(|at| reserve(&pool, &format!("RepartitionExec[{at}]"), true))
            .collect();
        let sort = reserve(&pool, "ExternalSorter[0]", true);
        sort.try_grow(8 << 10).expect("a part of all");
        assert!(sort.try_grow(1).is_err());
        for other in others.iter().take(127) {
            other.try_grow(8 << 10).expect("there is room");
        }
        assert!(others[127].try_grow(1).is_err(), "no more than there is");
    }

    #[test]
    fn a_sort_leaves_room_for_its_merge() {
        let pool: Arc<dyn MemoryPool> = Arc::new(Shares::of(1200));
        let sort = reserve(&pool, "ExternalSorter[0]", true);
        let groups = reserve(&pool, "GroupedHashAggregateStream[0]", true);
        groups.try_grow(600).expect("its share");
        assert!(groups.try_grow(1).is_err());
        sort.try_grow(150).expect("less, for the keys of its merge");
        assert!(sort.try_grow(1).is_err());
        let merge = reserve(&pool, "ExternalSorterMerge[0]", false);
        merge.try_grow(450).expect("all that is left");
        let error = merge.try_grow(1).expect_err("and no more than that");
        assert_eq!(
            error.strip_backtrace(),
            "Resources exhausted: ExternalSorterMerge[0] needs 1.0 B more, and 0.0 B of 1200.0 B are \
             left for it"
        );
        merge.shrink(350);
        groups.free();
        assert!(groups.try_grow(551).is_err(), "others count");
        groups.try_grow(550).expect("half of the rest");
        drop(sort);
        groups
            .try_grow(550)
            .expect("all of it, where there is nobody else");
        assert_eq!(pool.reserved(), 1200);
        drop((merge, groups));
        assert_eq!(pool.reserved(), 0);
    }
}
