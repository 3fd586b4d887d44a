//! The steps of the tiles that a large product is made of, in the processor's
//! own instructions.
//!
//! Twelve vectors of sums, and what goes into them, take all sixteen registers;
//! ten and eight are those of the rows that are left over.
//! A compiler that moves a single load further up runs out of them, and puts a
//! sum away at every step. Here eight steps of `k` follow each other with nothing
//! between them but loads and multiply-adds: where another thread shares the
//! core, the instructions beside these are what costs time.
//!
//! The sums and their order are those of the loop in [`tile`](super::tile).

use super::tile::{Product, Start};
use std::arch::asm;
use std::arch::x86_64::{__m256, __m256d};

/// Vectors of sums: all the registers but four.
const SUMS: usize = 12;

/// Bytes of a vector.
const WIDTH: usize = 32;

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
            row!($p, $u, "{a} + {three}", 15, 6 12, 7 13),
            row!($p, $u, "{a} + 4*{row}", 14, 8 12, 9 13),
        )
    };
}
macro_rules! step_6x2 {
    ($p:literal, $u:literal) => {
        concat!(
            step_5x2!($p, $u),
            row!($p, $u, "{a} + {five}", 15, 10 12, 11 13),
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
            row!($p, $u, "{a} + {three}", 15, 9 12, 10 13, 11 14),
        )
    };
}

/// One row, several panels: what is multiplied comes from memory, where there is
/// nothing else to do with it.
macro_rules! panel {
    ($p:literal, $u:literal, $width:literal, $at:literal, $($sum:literal $byte:literal),*) => {
        concat!($(
            "vfmadd231p", $p, " ymm", $sum, ", ymm12, ",
            "[", $at, " + ", $u, "*", $width, " + ", $byte, "]\n",
        )*)
    };
}
macro_rules! step_1x4x2 {
    ($p:literal, $u:literal) => {
        concat!(
            row!($p, $u, "{a}", 12,),
            panel!($p, $u, 128, "{b}", 0 0, 1 32, 2 64, 3 96),
            panel!($p, $u, 128, "{b} + {panel}", 4 0, 5 32, 6 64, 7 96),
        )
    };
}
macro_rules! step_1x3x3 {
    ($p:literal, $u:literal) => {
        concat!(
            row!($p, $u, "{a}", 12,),
            panel!($p, $u, 96, "{b}", 0 0, 1 32, 2 64),
            panel!($p, $u, 96, "{b} + {panel}", 3 0, 4 32, 5 64),
            panel!($p, $u, 96, "{b} + 2*{panel}", 6 0, 7 32, 8 64),
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
    ($name:ident, $number:ty, $vector:ty, $p:literal, $step:ident,
     $rows:literal x $vectors:literal x $panels:literal
     $(, $operand:ident $times:literal $stride:ident)*) => {
        /// Adds all steps of one product after the other to the sums, `stride`
        /// vectors from those of one row and panel to the next, with `COL` bytes
        /// from one number of a row to the next.
        ///
        /// # Safety
        /// The rows have `depth` numbers, so many rows of vectors are in each
        /// panel of `b`, and the sums of all rows at `sums`.
        #[target_feature(enable = "avx2,fma")]
        #[inline]
        pub unsafe fn $name<const COL: usize>(
            products: &[Product<'_, $number>],
            start: Option<Start<'_, $number>>,
            sums: *mut $vector,
            stride: usize,
        ) {
            const BYTES: usize = size_of::<$number>();
            // SAFETY: it reads the numbers that the caller promises, and writes
            // the sums.
            unsafe {
                let mut s = [std::mem::zeroed::<$vector>(); SUMS];
                for p in 0..$panels {
                    for v in 0..$vectors {
                        if let Some(start) = &start {
                            let from = &start.from[p * start.panels + v * start.vectors..];
                            let same = from[..WIDTH / BYTES].as_ptr().cast::<$vector>();
                            for r in 0..$rows {
                                s[(r * $panels + p) * $vectors + v] = same.read_unaligned();
                            }
                        } else {
                            for r in 0..$rows {
                                let at = r * $panels + p;
                                s[at * $vectors + v] = *sums.add(at * stride + v);
                            }
                        }
                    }
                }
                for f in products {
                    asm!(
                        "sub {k}, 8",
                        "jb 3f",
                        "2:",
                        $step!($p, 0), $step!($p, 1), $step!($p, 2), $step!($p, 3),
                        $step!($p, 4), $step!($p, 5), $step!($p, 6), $step!($p, 7),
                        "add {a}, 8*{col}",
                        "add {b}, 8*{width}",
                        "sub {k}, 8",
                        "jae 2b",
                        "3:",
                        "add {k}, 8",
                        "jz 5f",
                        "4:",
                        $step!($p, 0),
                        "add {a}, {col}",
                        "add {b}, {width}",
                        "dec {k}",
                        "jnz 4b",
                        "5:",
                        a = inout(reg) f.a.as_ptr() => _,
                        b = inout(reg) f.b.as_ptr() => _,
                        $($operand = in(reg) $times * BYTES * f.$stride,)*
                        k = inout(reg) f.depth => _,
                        col = const COL,
                        width = const WIDTH * $vectors,
                        inout("ymm0") s[0], inout("ymm1") s[1], inout("ymm2") s[2],
                        inout("ymm3") s[3], inout("ymm4") s[4], inout("ymm5") s[5],
                        inout("ymm6") s[6], inout("ymm7") s[7], inout("ymm8") s[8],
                        inout("ymm9") s[9], inout("ymm10") s[10], inout("ymm11") s[11],
                        out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
                        options(nostack, readonly),
                    );
                }
                for at in 0..$rows * $panels {
                    for v in 0..$vectors {
                        *sums.add(at * stride + v) = s[at * $vectors + v];
                    }
                }
            }
        }
    };
}

macro_rules! all {
    ($number:ty, $vector:ty, $p:literal, $five:ident $six:ident $four:ident $two:ident $three:ident
     $panels_2:ident $panels_3:ident) => {
        steps!($five, $number, $vector, $p, step_5x2, 5 x 2 x 1, row 1 row_stride, three 3 row_stride);
        steps!($six, $number, $vector, $p, step_6x2, 6 x 2 x 1,
            row 1 row_stride, three 3 row_stride, five 5 row_stride);
        steps!($four, $number, $vector, $p, step_4x3, 4 x 3 x 1, row 1 row_stride, three 3 row_stride);
        steps!($two, $number, $vector, $p, step_2x4, 2 x 4 x 1, row 1 row_stride);
        steps!($three, $number, $vector, $p, step_3x4, 3 x 4 x 1, row 1 row_stride);
        steps!($panels_2, $number, $vector, $p, step_1x4x2, 1 x 4 x 2, panel 1 panel_stride);
        steps!($panels_3, $number, $vector, $p, step_1x3x3, 1 x 3 x 3, panel 1 panel_stride);
    };
}

all!(f32, __m256, "s", f32_5x2 f32_6x2 f32_4x3 f32_2x4 f32_3x4 f32_1x4x2 f32_1x3x3);
all!(f64, __m256d, "d", f64_5x2 f64_6x2 f64_4x3 f64_2x4 f64_3x4 f64_1x4x2 f64_1x3x3);
