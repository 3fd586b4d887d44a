//! The worst error of the engine's sigmoid and tanh over all numbers of type
//! `f32`, in units in the last place, and where it is; a few minutes on two
//! cores:
//!
//! ```sh
//! cargo run --release -p elman --example activations
//! ```
//!
//! Where the logistic function is below the smallest normal number it is left
//! out: there the engine answers about that number.

use elman::cell::Activation;
use elman::kernel::{Dispatch, Lanes, Task};
use std::thread;

/// An activation of numbers, in place.
struct Each<'a>(&'a mut [f32], Activation);

impl Task<f32> for Each<'_> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes<f32>>(self) {
        for x in self.0.chunks_exact_mut(V::N) {
            self.1.value(V::load(x)).store(x);
        }
    }
}

/// The worst error and its place.
type Worst = (f64, f32);

/// Numbers in a piece of work.
const PIECE: u32 = 1 << 14;

/// The worst errors of vectors and of numbers one by one over some pieces.
fn worst(activation: Activation, pieces: impl Iterator<Item = u32>) -> [Worst; 2] {
    let mut worst = [(0.0, 0.0); 2];
    for piece in pieces {
        let x = (0..PIECE).map(|i| f32::from_bits(piece * PIECE + i));
        let x: Vec<f32> = x.collect();
        let [mut wide, mut alone] = [x.clone(), x.clone()];
        f32::dispatch(Each(&mut wide, activation));
        Each(&mut alone, activation).run::<f32>();
        for (i, x) in x.into_iter().enumerate() {
            let truth = match activation {
                Activation::Sigmoid => 1.0 / (1.0 + (-f64::from(x)).exp()),
                _ => f64::from(x).tanh(),
            };
            let exponent = (truth.abs().to_bits() >> 52) as i32 - 1023;
            if x.is_nan() || (activation == Activation::Sigmoid && exponent < -126) {
                continue;
            }
            let ulp = 2.0_f64.powi(exponent.max(-126) - 23);
            for (worst, y) in worst.iter_mut().zip([wide[i], alone[i]]) {
                let error = (f64::from(y) - truth).abs() / ulp;
                if error > worst.0 {
                    *worst = (error, x);
                }
            }
        }
    }
    worst
}

fn main() {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    for activation in [Activation::Sigmoid, Activation::Tanh] {
        let found = thread::scope(|scope| {
            let work = (0..threads).map(|first| {
                let pieces = (0..=u32::MAX / PIECE).skip(first).step_by(threads);
                scope.spawn(move || worst(activation, pieces))
            });
            let work: Vec<_> = work.collect();
            let found = work.into_iter().filter_map(|work| work.join().ok());
            found.collect::<Vec<_>>()
        });
        for (how, kind) in ["vectors", "numbers"].into_iter().enumerate() {
            let (mut error, mut place) = (0.0, 0.0);
            for worst in &found {
                if worst[how].0 > error {
                    (error, place) = worst[how];
                }
            }
            println!("{activation:8} {kind:8} {error:.3} ulp at {place:?}");
        }
    }
}
