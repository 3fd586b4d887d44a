//! The cells behind [`CellOptions`](super::CellOptions): those of affine gates
//! and a pointwise update go through the kernels, and one plain cell does all
//! there is by its definition.

mod general;
mod gru;
mod lstm;
mod rnn;

pub use general::General;
pub use gru::GruVariant;
pub use lstm::LstmVariant;
pub use rnn::RnnVariant;
