//! Weights in files: one model, one file.
//!
//! A model file is a safetensors file with PyTorch's tensor names, so that
//! `load_state_dict` takes it. One metadata key, `elman`, holds JSON with what
//! it takes to rebuild the network, and what the application put beside it.
//! Several networks of the same kind (an ensemble) have their number before
//! each name, as in a `ModuleList`: `0.rnn.weight_ih_l0`.
//!
//! [`TensorFile`] reads the tensors of any safetensors file, and of the files
//! that `torch.save` writes.

mod convert;
mod file;
mod header;
mod infer;
mod model;
mod tensors;
mod torch;

pub(crate) use convert::difference;
pub use convert::{Compared, ConvertOptions, Converted, Format, Precision, compare, convert};
pub use file::write_atomically;
pub use header::Header;
pub use infer::{FoundLayer, Shapes, found_layers};
pub(crate) use infer::{
    LAYER_NORM_EPS, TRANSPOSED, dotted, is_recurrent, recurrent, recurrent_prefixes, with_article,
};
pub use model::{METADATA_KEY, Model, is_model, model_layers, network_layers};
pub(crate) use model::{check_shapes, member_name, network_of};
pub use tensors::{Dtype, TensorFile, write_tensors};
