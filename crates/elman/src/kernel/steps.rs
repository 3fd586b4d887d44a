//! The steps of the tiles that a large product is made of, in the processor's
//! own instructions.
//!
//! Twelve vectors of sums, and what goes into them, take all sixteen registers;
//! ten and eight are those of the rows that are left over.
//! A compiler that moves a single load further up runs out of them, and puts a
//! sum away at every step. Here four steps of `k` follow each other with nothing
//! between them but loads and multiply-adds: where another thread shares the
//! core, the instructions beside these are what costs time.
//!
//! The sums and their order are those of the loop in [`tile`](super::tile).

use std::arch::asm;
use std::arch::x86_64::{__m256, __m256d};

/// Vectors of sums: all the registers but four.
const SUMS: usize = 12;

/// Where the factors of a tile lie.
#[derive(Clone, Copy)]
pub struct Factors<F> {
    /// The first number of the left one, and bytes from one row to the next.
    pub a: *const F,
    pub row: usize,
    /// The right one, whose vectors follow each other.
    pub b: *const F,
    /// Steps.
    pub depth: usize,
}

/// One number of the left factor times all vectors of this step, `$u` steps from
/// where the loop is.
macro_rules! row {
    ($p:literal, $u:literal, $a:literal, $x:literal, $($sum:literal $b:literal),*) => {
        concat!(
            "vbroadcasts", $p, " ymm", $x, ", [", $a, " + ", $u, "*{col}]\n",
            $("vfmadd231p", $p, " ymm", $sum, ", ymm", $x, ", ymm", $b, "\n",)*
        )
    };
}

/// One vector of the right factor times the numbers of all rows.
macro_rules! column {
    ($p:literal, $u:literal, $at:literal, $($sum:literal $x:literal),*) => {
        concat!(
            "vmovups ymm15, [{b} + ", $u, "*128 + ", $at, "]\n",
            $("vfmadd231p", $p, " ymm", $sum, ", ymm", $x, ", ymm15\n",)*
        )
    };
}

/// Five and six rows, two vectors.
macro_rules! step_5x2 {
    ($p:literal, $u:literal) => {
        concat!(
            "vmovups ymm12, [{b} + ", $u, "*64]\n",
            "vmovups ymm13, [{b} + ", $u, "*64 + 32]\n",
            row!($p, $u, "{a}", 14, 0 12, 1 13),
            row!($p, $u, "{a} + {row}", 15, 2 12, 3 13),
            row!($p, $u, "{a} + 2*{row}", 14, 4 12, 5 13),
            row!($p, $u, "{d}", 15, 6 12, 7 13),
            row!($p, $u, "{d} + {row}", 14, 8 12, 9 13),
        )
    };
}
macro_rules! step_6x2 {
    ($p:literal, $u:literal) => {
        concat!(
            step_5x2!($p, $u),
            row!($p, $u, "{d} + 2*{row}", 15, 10 12, 11 13),
        )
    };
}

/// Four rows, three vectors.
macro_rules! step_4x3 {
    ($p:literal, $u:literal) => {
        concat!(
            "vmovups ymm12, [{b} + ", $u, "*96]\n",
            "vmovups ymm13, [{b} + ", $u, "*96 + 32]\n",
            "vmovups ymm14, [{b} + ", $u, "*96 + 64]\n",
            row!($p, $u, "{a}", 15, 0 12, 1 13, 2 14),
            row!($p, $u, "{a} + {row}", 15, 3 12, 4 13, 5 14),
            row!($p, $u, "{a} + 2*{row}", 15, 6 12, 7 13, 8 14),
            row!($p, $u, "{d}", 15, 9 12, 10 13, 11 14),
        )
    };
}

/// Two and three rows, four vectors.
macro_rules! step_2x4 {
    ($p:literal, $u:literal) => {
        concat!(
            row!($p, $u, "{a}", 12,),
            row!($p, $u, "{a} + {row}", 13,),
            column!($p, $u, "0", 0 12, 4 13),
            column!($p, $u, "32", 1 12, 5 13),
            column!($p, $u, "64", 2 12, 6 13),
            column!($p, $u, "96", 3 12, 7 13),
        )
    };
}
macro_rules! step_3x4 {
    ($p:literal, $u:literal) => {
        concat!(
            row!($p, $u, "{a}", 12,),
            row!($p, $u, "{a} + {row}", 13,),
            row!($p, $u, "{a} + 2*{row}", 14,),
            column!($p, $u, "0", 0 12, 4 13, 8 14),
            column!($p, $u, "32", 1 12, 5 13, 9 14),
            column!($p, $u, "64", 2 12, 6 13, 10 14),
            column!($p, $u, "96", 3 12, 7 13, 11 14),
        )
    };
}

macro_rules! steps {
    ($name:ident, $number:ty, $vector:ty, $p:literal, $step:ident, $rows:literal x $vectors:literal) => {
        /// Adds all steps to the sums, `stride` vectors from those of one row to
        /// the next, with `COL` bytes from one number of a row to the next.
        ///
        /// # Safety
        /// The rows have `depth` numbers, so many rows of vectors are at `b`, and
        /// the sums of all rows at `sums`.
        #[target_feature(enable = "avx2,fma")]
        #[inline]
        pub unsafe fn $name<const COL: usize>(
            f: Factors<$number>,
            sums: *mut $vector,
            stride: usize,
        ) {
            // SAFETY: it reads the numbers that the caller promises, and writes
            // the sums.
            unsafe {
                let mut s = [std::mem::zeroed::<$vector>(); SUMS];
                for r in 0..$rows {
                    for v in 0..$vectors {
                        s[r * $vectors + v] = *sums.add(r * stride + v);
                    }
                }
                asm!(
                    "cmp {k}, 4",
                    "jb 3f",
                    "2:",
                    $step!($p, 0), $step!($p, 1), $step!($p, 2), $step!($p, 3),
                    "add {a}, 4*{col}",
                    "add {d}, 4*{col}",
                    "add {b}, 4*{width}",
                    "sub {k}, 4",
                    "cmp {k}, 4",
                    "jae 2b",
                    "3:",
                    "test {k}, {k}",
                    "jz 5f",
                    "4:",
                    $step!($p, 0),
                    "add {a}, {col}",
                    "add {d}, {col}",
                    "add {b}, {width}",
                    "dec {k}",
                    "jnz 4b",
                    "5:",
                    a = inout(reg) f.a => _,
                    // The fourth row.
                    d = inout(reg) f.a.wrapping_byte_add(3 * f.row) => _,
                    row = in(reg) f.row,
                    b = inout(reg) f.b => _,
                    k = inout(reg) f.depth => _,
                    col = const COL,
                    width = const 32 * $vectors,
                    inout("ymm0") s[0], inout("ymm1") s[1], inout("ymm2") s[2],
                    inout("ymm3") s[3], inout("ymm4") s[4], inout("ymm5") s[5],
                    inout("ymm6") s[6], inout("ymm7") s[7], inout("ymm8") s[8],
                    inout("ymm9") s[9], inout("ymm10") s[10], inout("ymm11") s[11],
                    out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
                    options(nostack, readonly),
                );
                for r in 0..$rows {
                    for v in 0..$vectors {
                        *sums.add(r * stride + v) = s[r * $vectors + v];
                    }
                }
            }
        }
    };
}

steps!(f32_5x2, f32, __m256, "s", step_5x2, 5 x 2);
steps!(f32_6x2, f32, __m256, "s", step_6x2, 6 x 2);
steps!(f32_4x3, f32, __m256, "s", step_4x3, 4 x 3);
steps!(f32_2x4, f32, __m256, "s", step_2x4, 2 x 4);
steps!(f32_3x4, f32, __m256, "s", step_3x4, 3 x 4);
steps!(f64_5x2, f64, __m256d, "d", step_5x2, 5 x 2);
steps!(f64_6x2, f64, __m256d, "d", step_6x2, 6 x 2);
steps!(f64_4x3, f64, __m256d, "d", step_4x3, 4 x 3);
steps!(f64_2x4, f64, __m256d, "d", step_2x4, 2 x 4);
steps!(f64_3x4, f64, __m256d, "d", step_3x4, 3 x 4);
