//! The most that this machine does: multiply-adds a second, bytes read a second
//! from every cache and from memory, and how long a thread waits for another.
//!
//! All but the hand-over is the best of many short stretches of time: a machine
//! is slower than it can be for many reasons, and faster for none.

use elman::roof::{fma, read};
use elman::{Error, Result};
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A rate on one thread, and on all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    /// On one thread, the others idle.
    pub one: f64,
    /// On all threads.
    pub all: f64,
}

/// A place that numbers are read from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Level {
    /// `L1`, `L2`, `L3` or `memory`.
    pub name: &'static str,
    /// Bytes that one thread reads again and again; of all threads together
    /// where they share the place, and each of them where they do not.
    pub bytes: usize,
    /// 10^9 bytes a second.
    pub gigabytes_per_second: Rates,
}

/// What this machine does at most.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Roof {
    /// All threads.
    pub threads: usize,
    /// 10^9 floating-point operations a second, in `f32`.
    pub gflops: Rates,
    /// From the fastest place to the slowest.
    pub read: Vec<Level>,
    /// Nanoseconds from a thread's word to the moment another one sees it that
    /// waits for it; `None` on a machine of one processor.
    pub hand_over_ns: Option<f64>,
}

/// How long is measured: so many stretches, of which the best one counts.
const STRETCH: Duration = Duration::from_millis(2);
const STRETCHES: usize = 50;
const FEW_STRETCHES: usize = 15;
const ATTEMPTS: usize = 50;

/// Iterations of [`fma`] between two looks at the clock: some microseconds.
const ITERATIONS: u32 = 8000;

/// Bytes read between two looks at the clock.
const READ: usize = 1 << 18;

/// Floating-point operations a second on so many threads together. `quick`
/// measures for a shorter time.
///
/// # Errors
/// Where the system has no such number of threads, or no time for them.
pub fn peak(threads: usize, quick: bool) -> Result<f64> {
    rate(threads, quick, || || fma(ITERATIONS))
}

/// All of the roof, on one thread and on so many.
///
/// # Errors
/// Where the system has no such number of threads, or no time for them.
pub fn roof(threads: usize, quick: bool) -> Result<Roof> {
    let rates = |measure: &dyn Fn(usize) -> Result<f64>| -> Result<Rates> {
        let one = measure(1)? / 1e9;
        let all = match threads {
            1 => one,
            _ => measure(threads)? / 1e9,
        };
        Ok(Rates { one, all })
    };
    let places = places(&caches(Path::new("/sys/devices/system/cpu/cpu0/cache")));
    let levels = places.into_iter().map(|place| {
        let rates = rates(&|threads| {
            let numbers = place.bytes_for(threads) / size_of::<f32>();
            rate(threads, quick, || reader(numbers))
        })?;
        Ok(Level {
            name: place.name,
            bytes: place.bytes,
            gigabytes_per_second: rates,
        })
    });
    Ok(Roof {
        threads,
        gflops: rates(&|threads| peak(threads, quick))?,
        read: levels.collect::<Result<_>>()?,
        hand_over_ns: hand_over()?,
    })
}

/// Reads numbers of its own, a part at a call, from the start again at the end.
fn reader(numbers: usize) -> impl FnMut() -> u64 {
    // Written, and not zeros: a system may have one page for all zeros.
    let numbers = vec![1.0_f32; numbers];
    let part = READ / size_of::<f32>();
    let times = (part / numbers.len().max(1)).max(1) as u32;
    let mut at = 0;
    move || {
        let end = numbers.len().min(at + part);
        let bytes = read(&numbers[at..end], times);
        at = if end == numbers.len() { 0 } else { end };
        bytes
    }
}

/// The best rate of some work on threads that do it at the same time: `make` is
/// called on every thread, and the work returns how much it has done.
fn rate<W: FnMut() -> u64>(
    threads: usize,
    quick: bool,
    make: impl Fn() -> W + Sync,
) -> Result<f64> {
    let stretches = if quick { FEW_STRETCHES } else { STRETCHES };
    // On a machine that is busy with something else, no thread may get a turn in
    // all of the time.
    for _ in 0..ATTEMPTS {
        let done = attempt(threads, stretches, &make)?;
        // The first stretch is the threads' start.
        let best = done.into_iter().skip(1).max().unwrap_or(0);
        if best > 0 {
            return Ok(best as f64 / STRETCH.as_secs_f64());
        }
    }
    Err(Error::numeric(
        "the machine is too busy to measure what it does at most; try again when it is not",
    ))
}

/// What all threads together have done in every stretch.
fn attempt<W: FnMut() -> u64>(
    threads: usize,
    stretches: usize,
    make: &(impl Fn() -> W + Sync),
) -> Result<Vec<u64>> {
    let ready = AtomicUsize::new(0);
    let start = OnceLock::new();
    let thread = || {
        let mut done = vec![0; stretches];
        let mut work = make();
        work();
        ready.fetch_add(1, Ordering::Release);
        let start: Option<Instant> = *start.wait();
        let Some(start) = start else { return done };
        loop {
            let amount = work();
            let stretch = start.elapsed().as_secs_f64() / STRETCH.as_secs_f64();
            match done.get_mut(stretch as usize) {
                Some(done) => *done += amount,
                None => return done,
            }
        }
    };
    thread::scope(|scope| {
        let spawned: std::io::Result<Vec<_>> = (0..threads)
            .map(|_| thread::Builder::new().spawn_scoped(scope, thread))
            .collect();
        let spawned = spawned.map_err(|e| {
            // Those that are there wait for it.
            start.get_or_init(|| None);
            no_threads(threads, &e)
        })?;
        while ready.load(Ordering::Acquire) < threads {
            thread::yield_now();
        }
        start.get_or_init(|| Some(Instant::now()));
        let mut sums = vec![0_u64; stretches];
        for thread in spawned {
            let done = thread.join().unwrap_or_default();
            for (sum, done) in sums.iter_mut().zip(done) {
                *sum += done;
            }
        }
        Ok(sums)
    })
}

fn no_threads(threads: usize, error: &std::io::Error) -> Error {
    Error::option(format!("--threads {threads}: {error}"))
}

/// Round trips of a hand-over between two looks at the clock, and looks.
const TRIPS: u32 = 500;
const LOOKS: usize = 21;

/// Nanoseconds of a hand-over, in the median.
fn hand_over() -> Result<Option<f64>> {
    if thread::available_parallelism().map_or(1, |n| n.get()) < 2 {
        return Ok(None);
    }
    let turn = AtomicU32::new(0);
    let all = TRIPS * LOOKS as u32;
    // Whoever sees its number counts on.
    let until = |number: u32| {
        let mut looks = 0_u32;
        while turn.load(Ordering::Acquire) != number {
            looks += 1;
            match looks % 1024 {
                0 => thread::yield_now(),
                _ => std::hint::spin_loop(),
            }
        }
    };
    let seconds = thread::scope(|scope| {
        let other = || {
            for trip in 0..all {
                until(2 * trip + 1);
                turn.store(2 * trip + 2, Ordering::Release);
            }
        };
        let spawned = thread::Builder::new().spawn_scoped(scope, other);
        spawned.map_err(|e| no_threads(2, &e))?;
        let looks = (0..LOOKS as u32).map(|look| {
            let start = Instant::now();
            for trip in look * TRIPS..(look + 1) * TRIPS {
                turn.store(2 * trip + 1, Ordering::Release);
                until(2 * trip + 2);
            }
            start.elapsed()
        });
        Ok(crate::measure::median(looks.collect()))
    })?;
    Ok(Some(1e9 * seconds / f64::from(2 * TRIPS)))
}

/// Bytes of the data caches of levels 1 to 3, 0 where there is none.
type Caches = [usize; 3];

/// What is taken for the caches where the system does not tell.
const USUAL: Caches = [32 << 10, 512 << 10, 8 << 20];

/// The caches as Linux tells them.
fn caches(folder: &Path) -> Caches {
    let mut caches = [0; 3];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let text = |name| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let level: usize = text("level").trim().parse().unwrap_or(0);
        let size = text("size");
        let size = size.trim();
        let (digits, unit) = match size.strip_suffix('M') {
            Some(digits) => (digits, 1 << 20),
            None => (size.strip_suffix('K').unwrap_or(size), 1 << 10),
        };
        let bytes = digits.parse::<usize>().unwrap_or(0).saturating_mul(unit);
        if let Some(cache) = level.checked_sub(1).and_then(|at| caches.get_mut(at))
            && text("type").trim() != "Instruction"
        {
            *cache = bytes;
        }
    }
    if caches[0] == 0 { USUAL } else { caches }
}

/// A place that numbers are read from, before it is measured.
struct Place {
    name: &'static str,
    bytes: usize,
    /// What is left for a thread at the least, where threads share the place.
    shared: Option<usize>,
}

impl Place {
    /// Bytes that each of so many threads reads.
    fn bytes_for(&self, threads: usize) -> usize {
        match self.shared {
            Some(least) => (self.bytes / threads).max(least),
            None => self.bytes,
        }
    }
}

/// Half of every cache, and more memory than the last one holds.
fn places(caches: &Caches) -> Vec<Place> {
    const LEAST: usize = 128 << 20;
    const MOST: usize = 512 << 20;
    let largest = caches.iter().copied().max().unwrap_or(0);
    let mut places: Vec<_> = ["L1", "L2", "L3"]
        .into_iter()
        .zip(caches)
        .filter(|(_, bytes)| **bytes > 0)
        .map(|(name, bytes)| Place {
            name,
            bytes: (bytes / 2).min(MOST),
            // More than the cache before it holds.
            shared: (name == "L3").then_some(2 * caches[1].min(MOST)),
        })
        .collect();
    places.push(Place {
        name: "memory",
        bytes: largest.saturating_mul(4).clamp(LEAST, MOST),
        shared: Some(1 << 20),
    });
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_read_or_guessed() {
        let folder = std::env::temp_dir().join(format!("elman-bench-{}", std::process::id()));
        assert_eq!(caches(&folder), USUAL);
        let index = [
            ("index0", "1", "Data", "48K"),
            ("index1", "1", "Instruction", "64K"),
            ("index2", "2", "Unified", "2M"),
            ("index3", "9", "Unified", "lots"),
        ];
        for (name, level, kind, size) in index {
            let at = folder.join(name);
            fs::create_dir_all(&at).unwrap();
            for (file, text) in [("level", level), ("type", kind), ("size", size)] {
                fs::write(at.join(file), format!("{text}\n")).unwrap();
            }
        }
        let found = caches(&folder);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, [48 << 10, 2 << 20, 0]);
        let names: Vec<_> = places(&found).iter().map(|place| place.name).collect();
        assert_eq!(names, ["L1", "L2", "memory"]);
    }

    #[test]
    fn threads_share_what_is_shared() {
        let places = places(&USUAL);
        for (threads, expected) in [
            (1, [16 << 10, 256 << 10, 4 << 20, 128 << 20]),
            (2, [16 << 10, 256 << 10, 2 << 20, 64 << 20]),
            (64, [16 << 10, 256 << 10, 1 << 20, 2 << 20]),
        ] {
            let bytes: Vec<_> = places.iter().map(|p| p.bytes_for(threads)).collect();
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn a_reader_reads_all_of_its_numbers() {
        for numbers in [1 << 12, 1 << 16, (1 << 18) + 128] {
            let mut next = reader(numbers);
            let bytes = 4 * numbers;
            let mut first = 0;
            for _ in 0..bytes.div_ceil(READ) {
                first += next() as usize;
            }
            assert_eq!(first, bytes * (READ / bytes).max(1));
        }
    }

    #[test]
    fn the_roof_is_measured() {
        for threads in [1, 2] {
            let roof = roof(threads, true).unwrap();
            assert_eq!(roof.threads, threads);
            let reads = roof.read.iter().map(|level| level.gigabytes_per_second);
            for rates in reads.chain([roof.gflops]) {
                assert!(rates.one > 0.0 && rates.all > 0.0, "{roof:?}");
            }
            assert!(roof.hand_over_ns.is_none_or(|ns| ns > 0.0));
        }
    }
}
