//! Threads that wait for work, ready to go.
//!
//! Every worker has a seat: one line of memory with a state and a task. The
//! state is the whole protocol: the caller swaps `WORK` in and wakes the worker
//! where it finds `ASLEEP`, the worker makes `ASLEEP` of `FREE` only where no
//! work has come since it looked, makes `BUSY` of `WORK` when it begins, and
//! stores `FREE` as the last thing it does with a task. A caller that has done
//! its own jobs makes `FREE` of `WORK` and does those jobs too, so that it never
//! waits for a thread that has not begun: the two may share a core. All of it
//! happens on one atomic number, so that no wake-up is lost and no two numbers
//! need to be seen in order.

use super::parts::Parts;
use crate::error::expect;
use crate::{Error, Result};
use std::any::Any;
use std::cell::UnsafeCell;
use std::hint;
use std::mem;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};

/// Looks that a worker takes before it goes to sleep: about 100 microseconds.
const LOOKS: usize = 3000;

/// Looks after which a waiting thread lets others run, and goes on: a few
/// microseconds. Where it has its core to itself that is long beside the call
/// into the system, so that it is mostly looking; where the thread that it waits
/// for needs the same core, each hand-over loses no more than this.
const SPINS: usize = 64;

/// State of a seat: nothing to do, and the worker will look again.
const FREE: u8 = 0;
/// State of a seat: nothing to do, and the worker has to be woken.
const ASLEEP: u8 = 1;
/// State of a seat: there is a task for whoever is first.
const WORK: u8 = 2;
/// State of a seat: the worker is at its task.
const BUSY: u8 = 3;
/// State of a seat: the worker ends.
const QUIT: u8 = 4;

/// Threads that wait for work, ready to go: the calling thread and workers of
/// the team's own.
///
/// While calls follow each other closely, handing work over takes a fraction of
/// a microsecond, so that products of a few microseconds are worth sharing.
/// Workers that have waited for longer go to sleep, and the next call wakes
/// them.
///
/// A clone is the same team; its threads end with the last one. The default is
/// the calling thread [alone](Self::alone).
///
/// ```
/// use elman::Team;
/// let team = Team::new(2)?;
/// let mut squares = [0; 5];
/// team.each(&mut squares, |i, square| *square = i * i);
/// assert_eq!(squares, [0, 1, 4, 9, 16]);
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Team(Option<Arc<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    workers: Vec<Worker>,
    /// Held by the call that the workers work for.
    turn: Mutex<()>,
}

// A job's panic reaches the caller when all seats are free again.
impl RefUnwindSafe for Inner {}

#[derive(Debug)]
struct Worker {
    seat: Arc<Seat>,
    thread: JoinHandle<()>,
}

/// Where a worker is handed its work. Moving a line of memory between cores is
/// what a hand-over costs, so all of it is in one line, and nothing else, nor in
/// the next, as processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Seat {
    state: AtomicU8,
    /// The caller's, but for the state `BUSY`, when it is the worker's; in the
    /// state `WORK` nobody's.
    task: UnsafeCell<Option<Task<'static>>>,
}

// SAFETY: the state says who may touch the task, one thread at a time, and is
// released and acquired as it changes hands; a task can be sent.
unsafe impl Sync for Seat {}

/// A call of [`Team::run`]; all that it borrows is in the caller's frame, or
/// outlives it.
#[derive(Clone, Copy)]
struct Task<'a> {
    job: &'a Job<'a>,
    jobs: usize,
    threads: usize,
    panics: &'a Panics,
}

type Job<'a> = dyn Fn(usize) + Sync + 'a;

/// What jobs on workers panicked with.
type Panics = Mutex<Vec<Box<dyn Any + Send>>>;

impl Team {
    /// The calling thread only.
    pub fn alone() -> Self {
        Self(None)
    }

    /// The calling thread and `threads - 1` workers.
    ///
    /// More threads than there are cores are slower, not wrong.
    ///
    /// # Errors
    /// Where `threads` is 0, or a thread cannot be started.
    pub fn new(threads: usize) -> Result<Self> {
        expect(threads > 0, "threads", "at least 1", threads)?;
        if threads == 1 {
            return Ok(Self::alone());
        }
        let mut inner = Inner::default();
        for number in 1..threads {
            let seat = Arc::new(Seat::default());
            let its = seat.clone();
            let thread = thread::Builder::new()
                .name(format!("elman-{number}"))
                .spawn(move || its.serve(number))
                .map_err(|e| Error::option(format!("threads: cannot start {threads}: {e}")))?;
            inner.workers.push(Worker { seat, thread });
        }
        Ok(Self(Some(Arc::new(inner))))
    }

    /// How many threads there are, the calling one among them.
    pub fn threads(&self) -> usize {
        1 + self.0.as_ref().map_or(0, |inner| inner.workers.len())
    }

    /// Calls `job` once for every number below `jobs`, and returns when all are
    /// done. Allocates nothing.
    ///
    /// Thread `t` of the team does the jobs `t`, `t + threads`, ... in order;
    /// thread 0 is the calling one. It also does those that no thread has begun
    /// when its own are done, and all of them where the team is at work already,
    /// for another thread or for a job that calls this again. So a job must not
    /// wait for another.
    ///
    /// # Panics
    /// Where a job does, with its message: the jobs `threads`, `2 threads`, ...
    /// after it are left out, all others are done, and the team can be used
    /// again.
    pub fn run(&self, jobs: usize, job: impl Fn(usize) + Sync) {
        match &self.0 {
            Some(inner) if jobs > 1 => inner.run(jobs, &job),
            _ => (0..jobs).for_each(job),
        }
    }

    /// Calls `f` once for every item, with its place; as [`run`](Self::run).
    ///
    /// # Panics
    /// Where `f` does.
    pub fn each<T: Send>(&self, items: &mut [T], f: impl Fn(usize, &mut T) + Sync) {
        self.both(items, f, &mut [(); 0], |_, ()| {});
    }

    /// Calls `f` once for every item of `some`, with its place, and `g` for every
    /// one of `others`, all side by side; as [`run`](Self::run).
    ///
    /// # Panics
    /// Where one of them does.
    pub(crate) fn both<T: Send, U: Send>(
        &self,
        some: &mut [T],
        f: impl Fn(usize, &mut T) + Sync,
        others: &mut [U],
        g: impl Fn(usize, &mut U) + Sync,
    ) {
        let first = some.len();
        let jobs = first + others.len();
        let (some, others) = (Parts::new(some), Parts::new(others));
        self.run(jobs, move |i| {
            match i.checked_sub(first) {
                // SAFETY: `run` calls this once for every i, so that no two
                // ranges overlap.
                None => f(i, unsafe { &mut some.range(i..i + 1)[0] }),
                // SAFETY: as above.
                Some(i) => g(i, unsafe { &mut others.range(i..i + 1)[0] }),
            }
        });
    }
}

impl Inner {
    fn run(&self, jobs: usize, job: &Job<'_>) {
        let _turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            // A job of an earlier call panicked; the seats are free again.
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => return (0..jobs).for_each(job),
        };
        let threads = 1 + self.workers.len();
        let panics = Panics::default();
        let task = Task {
            job,
            jobs,
            threads,
            panics: &panics,
        };
        let workers = &self.workers[..jobs.min(threads) - 1];
        let wait = Wait(workers);
        for worker in workers {
            // SAFETY: the turn is this call's, and the calls before it waited
            // for their workers. `wait` keeps this frame, however it is left,
            // until this worker has done with the task, or cannot begin it.
            unsafe { worker.give(task) };
        }
        (0..jobs).step_by(threads).for_each(job);
        for (worker, number) in workers.iter().zip(1..) {
            if worker.take_back() {
                task.work(number);
            }
        }
        drop(wait);
        let panics = panics.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(panic) = panics.into_iter().next() {
            resume_unwind(panic);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for worker in &self.workers {
            worker.tell(QUIT);
        }
        for worker in self.workers.drain(..) {
            // A job's panic is not the thread's.
            let _ = worker.thread.join();
        }
    }
}

impl Worker {
    /// Hands over a task.
    ///
    /// # Safety
    /// The worker has none, nobody else gives it one meanwhile, and what this
    /// one borrows lives until the state is neither `WORK` nor `BUSY`.
    unsafe fn give(&self, task: Task<'_>) {
        // SAFETY: only the lifetime changes. The worker takes the task out and
        // does not use it beyond the state `BUSY`, when it is alive.
        let task = unsafe { mem::transmute::<Task<'_>, Task<'static>>(task) };
        // SAFETY: a worker without a task leaves the cell alone, the waiting
        // for the one before acquired it, and no other caller is there.
        unsafe { *self.seat.task.get() = Some(task) };
        self.tell(WORK);
    }

    /// Whether the worker had not begun its task; then it will not.
    fn take_back(&self) -> bool {
        let state = &self.seat.state;
        let taken = state.compare_exchange(WORK, FREE, Ordering::AcqRel, Ordering::Acquire);
        taken.is_ok()
    }

    fn tell(&self, state: u8) {
        if self.seat.state.swap(state, Ordering::AcqRel) == ASLEEP {
            self.thread.thread().unpark();
        }
    }
}

/// Waits for the workers when it is dropped, also by a panic of the caller.
struct Wait<'a>(&'a [Worker]);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut looks = 0;
        for worker in self.0 {
            while matches!(worker.seat.state.load(Ordering::Acquire), WORK | BUSY) {
                pause(looks);
                looks = looks.wrapping_add(1);
            }
        }
    }
}

/// Between two looks.
fn pause(looks: usize) {
    if looks % SPINS < SPINS - 1 {
        hint::spin_loop();
    } else {
        thread::yield_now();
    }
}

impl Seat {
    /// What a worker does, to its end.
    fn serve(&self, thread: usize) {
        loop {
            match self.wait() {
                QUIT => return,
                WORK => {}
                _ => continue,
            }
            // It may have been taken back meanwhile.
            let (work, busy) = (WORK, BUSY);
            let begun =
                (self.state).compare_exchange(work, busy, Ordering::AcqRel, Ordering::Relaxed);
            if begun.is_err() {
                continue;
            }
            // SAFETY: the state was acquired as `BUSY`: the cell is this
            // thread's until the store below.
            let task = unsafe { (*self.task.get()).take() };
            if let Some(task) = task {
                task.work(thread);
            }
            self.state.store(FREE, Ordering::Release);
        }
    }

    /// Waits for something to do, and returns the state that says what.
    fn wait(&self) -> u8 {
        for looks in 0..LOOKS {
            match self.state.load(Ordering::Acquire) {
                FREE => pause(looks),
                state => return state,
            }
        }
        let (free, asleep) = (FREE, ASLEEP);
        // Where this fails there is something to do.
        let _ = (self.state).compare_exchange(free, asleep, Ordering::AcqRel, Ordering::Relaxed);
        loop {
            match self.state.load(Ordering::Acquire) {
                ASLEEP => thread::park(),
                state => return state,
            }
        }
    }
}

impl Task<'_> {
    /// Does a worker's jobs; never unwinds.
    fn work(self, thread: usize) {
        let jobs = (thread..self.jobs).step_by(self.threads);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| jobs.for_each(self.job))) {
            let panics = self.panics.lock();
            panics.unwrap_or_else(PoisonError::into_inner).push(panic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::thread::ThreadId;
    use std::time::Duration;

    const THREADS: [usize; 4] = [1, 2, 3, 8];

    /// Long enough for workers to fall asleep, mostly.
    fn pause_long() {
        thread::sleep(Duration::from_millis(5));
    }

    /// Counts the calls of every job.
    fn count(team: &Team, calls: &[AtomicUsize]) {
        team.run(calls.len(), |i| {
            calls[i].fetch_add(1, Ordering::Relaxed);
        });
    }

    fn zeros(jobs: usize) -> Vec<AtomicUsize> {
        (0..jobs).map(|_| AtomicUsize::new(0)).collect()
    }

    fn check_all(calls: &[AtomicUsize], expected: usize) {
        for calls in calls {
            assert_eq!(calls.load(Ordering::Relaxed), expected);
        }
    }

    /// Every job runs once a call, those of a thread by one thread and in order;
    /// every item is lent once.
    fn check(threads: usize, jobs: usize) {
        let team = Team::new(threads).unwrap();
        assert_eq!(team.threads(), threads);
        let calls = zeros(jobs);
        for round in 1..=2000 {
            count(&team, &calls);
            check_all(&calls, round);
            if round % 1000 == 0 {
                pause_long();
            }
        }
        let mut items = vec![(thread::current().id(), 0); jobs];
        let next = AtomicUsize::new(0);
        team.each(&mut items, |i, item| {
            assert_eq!(*item, (item.0, 0));
            *item = (thread::current().id(), next.fetch_add(1, Ordering::Relaxed));
            assert!(i < jobs);
        });
        let mut seen: Vec<ThreadId> = Vec::new();
        for (i, (id, place)) in items.iter().enumerate() {
            if i < threads {
                let caller = thread::current().id();
                assert!(*id == caller || !seen.contains(id));
                seen.push(*id);
            } else {
                assert_eq!(*id, seen[i % threads]);
                assert!(*place > items[i - threads].1);
            }
        }
        assert!(seen.is_empty() || seen[0] == thread::current().id());
    }

    #[test]
    fn every_job_runs_once() {
        for threads in THREADS {
            for jobs in [0, 1, 2, 3, 17, 64] {
                check(threads, jobs);
            }
        }
    }

    #[test]
    fn both_kinds_of_items_are_lent_once() {
        for threads in THREADS {
            let team = Team::new(threads).unwrap();
            for (some, others) in [(0, 0), (0, 3), (5, 0), (1, 1), (2, 17)] {
                let (mut some, mut others) = (vec![0; some], vec![String::new(); others]);
                team.both(
                    &mut some,
                    |i, item| *item += 1 + i,
                    &mut others,
                    |i, item| item.push_str(&i.to_string()),
                );
                assert!(some.iter().enumerate().all(|(i, item)| *item == 1 + i));
                assert!((others.iter().enumerate()).all(|(i, item)| *item == i.to_string()));
            }
        }
    }

    #[test]
    fn sleepers_are_woken() {
        for threads in THREADS {
            let team = Team::new(threads).unwrap();
            let calls = zeros(17);
            for round in 1..=20 {
                pause_long();
                count(&team, &calls);
                check_all(&calls, round);
            }
        }
    }

    #[test]
    fn no_threads_are_refused_and_one_is_alone() {
        let e = Team::new(0).unwrap_err();
        assert!(e.is_option());
        assert_eq!(e.to_string(), "threads: expected at least 1, got 0");
        for team in [Team::alone(), Team::default(), Team::new(1).unwrap()] {
            assert!(team.0.is_none() && team.threads() == 1);
        }
    }

    #[test]
    fn a_team_goes_anywhere() {
        fn anywhere<T: Send + Sync + std::panic::UnwindSafe + RefUnwindSafe>() {}
        anywhere::<Team>();
    }

    #[test]
    fn items_of_no_size_are_lent() {
        let team = Team::new(3).unwrap();
        let calls = AtomicUsize::new(0);
        team.each(&mut [(); 65], |_, ()| {
            calls.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(calls.into_inner(), 65);
    }

    /// A job that runs jobs does all of them itself.
    #[test]
    fn jobs_run_jobs() {
        for threads in THREADS {
            let team = Team::new(threads).unwrap();
            let calls = zeros(3);
            for _ in 0..100 {
                team.run(17, |_| {
                    let thread = thread::current().id();
                    team.run(3, |i| {
                        assert_eq!(thread::current().id(), thread);
                        calls[i].fetch_add(1, Ordering::Relaxed);
                    });
                });
            }
            check_all(&calls, 1700);
        }
    }

    /// After a call no worker has a task, whoever has done it.
    #[test]
    fn no_task_is_left_behind() {
        let team = Team::new(3).unwrap();
        let inner = team.0.as_ref().unwrap();
        pause_long();
        for round in 0..200 {
            let calls = zeros(17);
            count(&team, &calls);
            check_all(&calls, 1);
            for worker in &inner.workers {
                let state = worker.seat.state.load(Ordering::Acquire);
                assert!(matches!(state, FREE | ASLEEP), "{round}: {state}");
            }
        }
    }

    /// Callers at the same time: one has the team, the others do without.
    #[test]
    fn callers_share_a_team() {
        for threads in THREADS {
            let team = Team::new(threads).unwrap();
            thread::scope(|scope| {
                for _ in 0..3 {
                    let team = team.clone();
                    scope.spawn(move || {
                        let calls = zeros(17);
                        for round in 1..=1000 {
                            count(&team, &calls);
                            check_all(&calls, round);
                        }
                    });
                }
            });
        }
    }

    /// One call while another is known to hold the team.
    #[test]
    fn a_busy_team_is_done_without() {
        let team = Team::new(2).unwrap();
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                team.run(2, |i| {
                    if i == 0 {
                        barrier.wait();
                        barrier.wait();
                    }
                });
            });
            barrier.wait();
            let caller = thread::current().id();
            team.run(17, |_| assert_eq!(thread::current().id(), caller));
            barrier.wait();
        });
    }

    /// What a job panics with.
    fn message(team: &Team, jobs: usize, job: impl Fn(usize) + Sync) -> String {
        let run = AssertUnwindSafe(|| team.run(jobs, job));
        *catch_unwind(run).unwrap_err().downcast().unwrap()
    }

    #[test]
    fn panics_reach_the_caller_and_the_team_goes_on() {
        for threads in THREADS {
            let team = Team::new(threads).unwrap();
            let calls = zeros(17);
            for bad in [0, 1, 7, 16] {
                let done = zeros(17);
                let said = message(&team, 17, |i| {
                    assert!(i != bad, "job {i}");
                    done[i].fetch_add(1, Ordering::Relaxed);
                });
                assert_eq!(said, format!("job {bad}"));
                // Left out: the jobs of its thread from there on.
                for (i, done) in done.into_iter().enumerate() {
                    let left_out = i % threads == bad % threads && i >= bad;
                    assert_eq!(done.into_inner(), usize::from(!left_out), "{i}");
                }
                count(&team, &calls);
            }
            check_all(&calls, 4);
            // All at once: the caller's is the one that is heard.
            for _ in 0..20 {
                assert_eq!(message(&team, 17, |i| panic!("job {i}")), "job 0");
            }
            // From a call within a job.
            let job = |_| team.run(3, |i| assert!(i < 2, "job {i}"));
            assert_eq!(message(&team, 17, job), "job 2");
            count(&team, &calls);
            check_all(&calls, 5);
        }
    }

    /// The threads hold their seats, and end with the last clone.
    #[test]
    fn workers_end_with_the_team() {
        for asleep in [false, true] {
            for worked in [false, true] {
                for threads in THREADS {
                    let team = Team::new(threads).unwrap();
                    let seats: Vec<_> = (team.0.iter())
                        .flat_map(|inner| &inner.workers)
                        .map(|worker| Arc::downgrade(&worker.seat))
                        .collect();
                    assert_eq!(seats.len(), threads - 1);
                    let calls = zeros(17);
                    if worked {
                        count(&team, &calls);
                    }
                    if asleep {
                        pause_long();
                    }
                    let last = team.clone();
                    drop(team);
                    count(&last, &calls);
                    drop(last);
                    check_all(&calls, 1 + usize::from(worked));
                    assert!(seats.iter().all(|seat| seat.strong_count() == 0));
                }
            }
        }
    }
}
