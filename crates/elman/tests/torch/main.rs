//! Layers, networks, optimisers and files held against PyTorch's, and Keras's.

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
