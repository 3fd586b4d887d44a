//! Layers, networks, optimisers and files against PyTorch's and Keras's numbers.

#[path = "../common/mod.rs"]
mod common;

mod convert;
mod files;
mod init;
mod keras;
mod layers;
mod networks;
mod optim;
mod stack;
mod variants;
