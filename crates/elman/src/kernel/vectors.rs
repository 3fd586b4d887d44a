//! Which vectors this machine computes with.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

/// A kind of vectors that the kernels are compiled for.
///
/// All numbers are computed with the widest that the processor has. The
/// environment variable `ELMAN_VECTORS` (`avx512`, `avx2` or `portable`), read
/// once, says not to use wider ones than that: to compare them, or where another
/// program on the same processor is slowed down by AVX-512. Another name counts
/// for none here (the program `elman` refuses it).
///
/// ```
/// use elman::kernel::Vectors;
///
/// println!("computed with {}", Vectors::here());
/// assert_eq!("avx2".parse(), Ok(Vectors::Avx2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Vectors {
    /// Arrays of 32 bytes, of which the compiler makes what it can.
    Portable = 1,
    /// 32 bytes, with fused multiply-adds.
    Avx2,
    /// 64 bytes, with the bits of [`Avx2`](Self::Avx2).
    Avx512,
}

/// What is used here, once it is known.
static HERE: AtomicU8 = AtomicU8::new(0);

impl Vectors {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// Those that are used on this machine: never any that it lacks.
    #[inline]
    #[must_use]
    pub fn here() -> Self {
        match HERE.load(Ordering::Relaxed) {
            1 => Self::Portable,
            2 => Self::Avx2,
            3 => Self::Avx512,
            _ => Self::find(),
        }
    }

    /// The widest that the processor has.
    #[must_use]
    pub fn widest() -> Self {
        #[cfg(target_arch = "x86_64")]
        if super::avx2::there() {
            return match super::avx512::there() {
                true => Self::Avx512,
                false => Self::Avx2,
            };
        }
        Self::Portable
    }

    /// What `unsafe` code rests on: nothing wider than [`widest`](Self::widest).
    #[cold]
    fn find() -> Self {
        let most = std::env::var("ELMAN_VECTORS").ok();
        let most = most.and_then(|name| name.parse().ok());
        let here = Self::widest().min(most.unwrap_or(Self::Avx512));
        HERE.store(here as u8, Ordering::Relaxed);
        here
    }

    /// Bytes of a vector.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Portable | Self::Avx2 => 32,
            Self::Avx512 => 64,
        }
    }

    /// How many of them the processor has registers for.
    #[inline]
    #[must_use]
    pub const fn registers(self) -> usize {
        match self {
            Self::Portable | Self::Avx2 => 16,
            Self::Avx512 => 32,
        }
    }
}

impl fmt::Display for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

impl std::str::FromStr for Vectors {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|v| v.to_string() == name);
        found.ok_or_else(|| format!("`{name}`; there are portable, avx2 and avx512"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn names() {
        for vectors in Vectors::ALL {
            assert_eq!(vectors.to_string().parse(), Ok(vectors));
        }
        let error = "avx".parse::<Vectors>().unwrap_err();
        assert_eq!(error, "`avx`; there are portable, avx2 and avx512");
        let most = std::env::var("ELMAN_VECTORS").map_or(Vectors::Avx512, |v| v.parse().unwrap());
        assert_eq!(Vectors::here(), Vectors::widest().min(most));
    }

    /// All tests of the kernels with narrower vectors than this process has.
    #[test]
    fn all_kinds_of_vectors_pass() {
        let here = Vectors::here();
        for vectors in Vectors::ALL.into_iter().filter(|v| *v < here) {
            let tests = Command::new(std::env::current_exe().unwrap())
                .env("ELMAN_VECTORS", vectors.to_string())
                .args(["kernel::", "float::", "activation::"])
                .args(["--skip", "all_kinds_of_vectors_pass"])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&tests.stdout);
            assert!(tests.status.success(), "{vectors}: {said}");
            assert!(!said.contains(" 0 passed"), "{vectors}: {said}");
        }
    }
}
