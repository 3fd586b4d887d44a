//! What the rows tell the engine beside their numbers.

use elman::layer::{Pass, StackCache};
use elman::{Result, Team};

/// Gives the cache a team of so many threads.
pub fn set_threads(cache: &mut StackCache<f32>, threads: usize) -> Result<()> {
    cache.set_team(Team::new(threads)?);
    Ok(())
}

/// A pass over rows of these lengths that nothing goes back through, or that
/// something does.
pub fn pass(lengths: Option<&[usize]>, inference: bool) -> Pass<'_> {
    Pass {
        lengths,
        inference,
        ..Pass::default()
    }
}
