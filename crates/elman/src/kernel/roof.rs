//! What the processor can do at most: work for a benchmark to time, with the
//! vectors that the kernels use. Nothing here reads a clock.

use super::dispatch::{Dispatch, Task};
use super::lanes::Lanes;
use std::hint::black_box;

/// Sums that do not wait for each other: more than the steps that a fused
/// multiply-add takes times the units that do it (4 x 2 on most machines), and
/// few enough to stay in sixteen registers.
const SUMS: usize = 12;

/// Vectors read side by side; a sum of each hides the latency of the addition.
const READS: usize = 8;

/// Multiplies and adds numbers that are in registers, `iterations` times twelve
/// vectors of `f32`, as fast as the processor can on one thread. Returns the
/// floating-point operations done: two for each multiply-add.
///
/// ```
/// let one = elman::roof::fma(1);
/// assert!(one > 0 && elman::roof::fma(10) == 10 * one);
/// ```
pub fn fma(iterations: u32) -> u64 {
    <f32 as Dispatch>::dispatch(Fma(iterations))
}

struct Fma(u32);

impl Task<f32> for Fma {
    type Out = u64;

    #[inline(always)]
    fn run<V: Lanes<f32>>(self) -> u64 {
        // Unknown to the compiler, so that it computes nothing beforehand; the
        // sums go to 1 and never to what a processor is slow at.
        let factor = V::splat(black_box(0.5));
        let term = V::splat(black_box(0.5));
        let mut sums: [V; SUMS] = std::array::from_fn(|i| V::splat(black_box(i as f32)));
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = sum.mul_add(factor, term);
            }
        }
        let sum = sums.into_iter().fold(V::splat(0.0), |a, b| a + b);
        let mut lanes = [0.0; 64];
        sum.store(&mut lanes);
        black_box(lanes);
        2 * (SUMS * V::N) as u64 * u64::from(self.0)
    }
}

/// Reads `from` from its start to its end, `times` times over, and adds up what
/// it reads. Returns the bytes read; a rest of fewer numbers than eight vectors
/// is left out.
///
/// ```
/// let numbers = vec![1.0_f32; 1 << 12];
/// assert_eq!(elman::roof::read(&numbers, 3), 3 * 4 * numbers.len() as u64);
/// ```
pub fn read(from: &[f32], times: u32) -> u64 {
    <f32 as Dispatch>::dispatch(Read(from, times))
}

struct Read<'a>(&'a [f32], u32);

impl Task<f32> for Read<'_> {
    type Out = u64;

    #[inline(always)]
    fn run<V: Lanes<f32>>(self) -> u64 {
        let Self(from, times) = self;
        let mut sums = [V::splat(0.0); READS];
        for _ in 0..times {
            // The same numbers again, as far as the compiler knows not.
            for numbers in black_box(from).chunks_exact(READS * V::N) {
                for (sum, lanes) in sums.iter_mut().zip(numbers.chunks_exact(V::N)) {
                    *sum = *sum + V::load(lanes);
                }
            }
        }
        let sum = sums.into_iter().fold(V::splat(0.0), |a, b| a + b);
        let mut lanes = [0.0; 64];
        sum.store(&mut lanes);
        black_box(lanes);
        let whole = from.len() / (READS * V::N) * (READS * V::N);
        size_of_val(&from[..whole]) as u64 * u64::from(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted() {
        for times in [0, 1, 3, 17] {
            assert_eq!(fma(times), fma(1) * u64::from(times));
            for len in [0, 1, 3, 17, 64, 65, 1024] {
                let bytes = read(&vec![1.0; len], times);
                let all = 4 * len as u64 * u64::from(times);
                assert!(bytes <= all, "{len} numbers, {times} times: {bytes}");
                if len % 1024 == 0 {
                    assert_eq!(bytes, all);
                }
            }
        }
    }
}
