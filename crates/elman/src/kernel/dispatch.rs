//! Run-time choice of the instruction set.

use super::lanes::{Lanes, Plain};
use crate::Float;

/// Work that is compiled once for every instruction set.
///
/// `run` and all it calls must be `#[inline(always)]`, so that it is compiled
/// inside a function that has the features enabled.
pub trait Task<F> {
    /// What the work returns.
    type Out;

    /// Does the work with vectors of that kind.
    fn run<V: Lanes<F>>(self) -> Self::Out;
}

/// Numbers whose work can be dispatched.
pub trait Dispatch: Sized {
    /// Runs the work with the widest vectors that this machine has.
    fn dispatch<T: Task<Self>>(task: T) -> T::Out;
}

macro_rules! dispatch {
    ($number:ty, $lanes:literal, $wide:ident) => {
        impl Dispatch for $number {
            #[inline]
            fn dispatch<T: Task<Self>>(task: T) -> T::Out {
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the function and its vectors need AVX2 and FMA,
                    // and this machine has both.
                    return unsafe { with_avx2::<_, super::lanes::avx2::$wide, _>(task) };
                }
                task.run::<Plain<$number, $lanes>>()
            }
        }
    };
}

dispatch!(f32, 8, F32x8);
dispatch!(f64, 4, F64x4);

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<F: Float, V: Lanes<F>, T: Task<F>>(task: T) -> T::Out {
    task.run::<V>()
}
