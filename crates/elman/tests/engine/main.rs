//! What layers, networks and their training do: one program, as each takes long
//! to build.

#[path = "../common/mod.rs"]
mod common;

mod cells;
mod chains;
mod checkpoint;
mod compact;
mod gradcheck;
mod networks;
mod packing;
mod properties;
mod refusals;
mod run;
mod threads;
mod training;
mod truncation;
mod variants;
mod vectors;
