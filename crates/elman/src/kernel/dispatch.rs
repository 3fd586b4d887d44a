//! Run-time choice of the instruction set.

use super::lanes::{Lanes, Plain};
use super::outer::{Block, FROM, Factors, Outer};
use super::product::{ProductInPlace, ProductScaled};
use super::team::Team;
use super::vectors::Vectors;
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
    /// Runs the work with the vectors that are used [here](Vectors::here).
    fn dispatch<T: Task<Self>>(task: T) -> T::Out;

    /// A product whose sums are in memory, compiled here and not in every crate
    /// that has one.
    fn product_in_place(product: ProductInPlace<'_, Self>);

    /// The same for [`product_scaled`](super::product_scaled).
    fn product_scaled(product: ProductScaled<'_, Self>);

    /// The same for [`Outer::add`].
    fn add_outer<'a>(
        room: &mut Outer<Self>,
        team: &Team,
        rows: usize,
        row: &Factors<'a, '_, Self>,
        widths: [usize; FROM],
        blocks: &[Block],
        out: &mut [Self],
    );
}

macro_rules! dispatch {
    ($number:ty, $lanes:literal, $avx2:ident, $avx512:ident) => {
        impl Dispatch for $number {
            #[inline]
            fn dispatch<T: Task<Self>>(task: T) -> T::Out {
                match Vectors::here() {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: the function and its vectors need AVX-512, which
                    // this machine has.
                    Vectors::Avx512 => unsafe { with_avx512::<_, super::avx512::$avx512, _>(task) },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: the same with AVX2 and FMA.
                    Vectors::Avx2 => unsafe { with_avx2::<_, super::avx2::$avx2, _>(task) },
                    _ => task.run::<Plain<$number, $lanes>>(),
                }
            }

            fn product_in_place(product: ProductInPlace<'_, Self>) {
                Self::dispatch(product);
            }

            fn product_scaled(product: ProductScaled<'_, Self>) {
                Self::dispatch(product);
            }

            fn add_outer<'a>(
                room: &mut Outer<Self>,
                team: &Team,
                rows: usize,
                row: &Factors<'a, '_, Self>,
                widths: [usize; FROM],
                blocks: &[Block],
                out: &mut [Self],
            ) {
                room.add_here(team, rows, row, widths, blocks, out);
            }
        }
    };
}

dispatch!(f32, 8, F32x8, F32x16);
dispatch!(f64, 4, F64x4, F64x8);

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn with_avx512<F: Float, V: Lanes<F>, T: Task<F>>(task: T) -> T::Out {
    task.run::<V>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<F: Float, V: Lanes<F>, T: Task<F>>(task: T) -> T::Out {
    task.run::<V>()
}
