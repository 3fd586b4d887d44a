//! Run-time choice of the instruction set.

use crate::Float;

/// Work that is compiled once for every instruction set.
///
/// `run` and all it calls must be `#[inline(always)]`, so that it is compiled
/// inside a function that has the features enabled.
pub trait Task {
    /// What the work returns.
    type Out;

    /// Does the work; `FMA` tells whether a multiply-add is one instruction.
    fn run<const FMA: bool>(self) -> Self::Out;
}

/// Runs the work with the widest instruction set this machine has.
#[inline]
pub fn dispatch<T: Task>(task: T) -> T::Out {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the function needs AVX2 and FMA, and this machine has both.
        return unsafe { with_avx2(task) };
    }
    task.run::<false>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<T: Task>(task: T) -> T::Out {
    task.run::<true>()
}

/// `a * b + c`: one rounding where the machine has the instruction, else two.
#[inline(always)]
pub(super) fn mul_add<F: Float, const FMA: bool>(a: F, b: F, c: F) -> F {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}
