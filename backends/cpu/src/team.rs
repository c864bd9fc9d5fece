//! Threads that run one job together and sleep between jobs, without allocating.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// The caller's thread and helpers.
#[derive(Debug)]
pub(crate) struct Team {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    board: Mutex<Board>,
    posted: Condvar,
    done: Condvar,
}

/// What helpers look at when they wake.
#[derive(Debug, Default)]
struct Board {
    job: Option<Posted>,
    /// Counts jobs, so that a helper takes each once.
    generation: u64,
    working: usize,
    panicked: bool,
    closed: bool,
}

/// A job whose lifetime is not in its type: [`Team::run`] outlives every use.
#[derive(Clone, Copy)]
struct Posted(*const (dyn Fn(usize) + Sync));

// SAFETY: the pointee is `Sync`, and `Team::run` keeps it alive until every helper is done with it.
unsafe impl Send for Posted {}

impl std::fmt::Debug for Posted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Posted")
    }
}

impl Shared {
    /// The board, also after a panic: every change to it is whole.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Team {
    pub(crate) fn new(threads: usize) -> Team {
        let shared = Arc::new(Shared::default());
        let helpers = (1..threads).map(|index| {
            let shared = Arc::clone(&shared);
            let helper = Builder::new().name(format!("adarem-cpu-{index}"));
            helper
                .spawn(move || help(&shared, index))
                .expect("the operating system refused a thread")
        });
        let helpers = helpers.collect();
        Team { shared, helpers }
    }

    pub(crate) fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Runs `job(0)`, .., `job(threads - 1)`, each on its own thread, and returns when all have.
    ///
    /// # Panics
    /// Where one of them did.
    pub(crate) fn run(&mut self, job: &(dyn Fn(usize) + Sync)) {
        if self.helpers.is_empty() {
            return job(0);
        }
        // SAFETY: only the lifetime changes; `Finish` below waits, also while unwinding, until no helper
        // holds the pointer.
        let posted = Posted(unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync)>(job)
        });
        {
            let mut board = self.shared.board();
            board.job = Some(posted);
            board.generation += 1;
            board.working = self.helpers.len();
            board.panicked = false;
        }
        self.shared.posted.notify_all();
        let finish = Finish(&self.shared);
        job(0);
        drop(finish);
        assert!(
            !self.shared.board().panicked,
            "a rule panicked on a helper thread"
        );
    }
}

/// Waits for the helpers when dropped.
struct Finish<'a>(&'a Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let mut board = self.0.board();
        while board.working > 0 {
            board = self
                .0
                .done
                .wait(board)
                .unwrap_or_else(PoisonError::into_inner);
        }
        board.job = None;
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.board().closed = true;
        self.shared.posted.notify_all();
        for helper in self.helpers.drain(..) {
            // A helper catches the panics of its jobs, so there is nothing to report.
            let _ = helper.join();
        }
    }
}

/// The life of a helper.
fn help(shared: &Shared, index: usize) {
    let mut seen = 0;
    loop {
        let job = {
            let mut board = shared.board();
            loop {
                if board.closed {
                    return;
                }
                if board.generation != seen
                    && let Some(job) = board.job
                {
                    seen = board.generation;
                    break job;
                }
                board = shared
                    .posted
                    .wait(board)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        };
        let run = std::panic::AssertUnwindSafe(|| {
            // SAFETY: `Team::run` does not return before `working` is back at 0, which is set below.
            unsafe { (*job.0)(index) }
        });
        let panicked = std::panic::catch_unwind(run).is_err();
        let mut board = shared.board();
        board.panicked |= panicked;
        board.working -= 1;
        if board.working == 0 {
            shared.done.notify_one();
        }
    }
}

/// A point that all threads of a job reach before any goes on.
///
/// It spins for a moment, as the threads of a step arrive almost together, and then yields. A thread that
/// panics [breaks](Self::break_up) it, so that the others do not wait for ever.
#[derive(Debug, Default)]
pub(crate) struct Rendezvous {
    arrived: AtomicUsize,
    round: AtomicUsize,
    broken: AtomicBool,
}

impl Rendezvous {
    pub(crate) fn wait(&self, threads: usize) {
        let round = self.round.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.round.store(round.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut spins = 0u32;
        while self.round.load(Ordering::Acquire) == round {
            assert!(
                !self.broken.load(Ordering::Relaxed),
                "a rule panicked on another thread"
            );
            spins += 1;
            if spins < 2000 {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }

    pub(crate) fn break_up(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Rendezvous, Team};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_thread_runs_each_job_once() {
        let mut team = Team::new(4);
        for round in 1..=100 {
            let counts: [AtomicUsize; 4] = Default::default();
            let meet = Rendezvous::default();
            team.run(&|index| {
                counts[index].fetch_add(round, Ordering::Relaxed);
                meet.wait(4);
                assert!(
                    counts
                        .iter()
                        .all(|count| count.load(Ordering::Relaxed) == round)
                );
            });
        }
    }

    #[test]
    fn a_panic_of_a_helper_reaches_the_caller_and_the_team_lives_on() {
        let mut team = Team::new(2);
        let run = std::panic::AssertUnwindSafe(|| team.run(&|index| assert_eq!(index, 0)));
        assert!(std::panic::catch_unwind(run).is_err());
        let sum = AtomicUsize::new(0);
        team.run(&|index| {
            sum.fetch_add(index + 1, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 3);
    }
}
