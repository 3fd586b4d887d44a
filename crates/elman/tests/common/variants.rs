//! All cells that options make, in every legal combination.

use elman::cell::Activation::{self, *};
use elman::cell::{CellKind, CellOptions};
use elman::layer::RecurrentConfig;

/// Activations of each function: bounded, and two lists with those that are
/// not.
const ACTIVATIONS: [(&[Activation], &[Activation], &[Activation]); 3] = [
    (
        &[Softsign],
        &[HardSigmoid, Sigmoid, Softsign],
        &[HardSigmoid, Sigmoid, Softsign, Softsign, HardTanh],
    ),
    (
        &[Elu],
        &[Softsign, HardSigmoid, LeakyRelu],
        &[Sigmoid, Softsign, Elu, HardSigmoid, LeakyRelu],
    ),
    (
        &[Softplus],
        &[Softplus, Sigmoid, Relu],
        &[HardSigmoid, Softplus, Identity, Sigmoid, Relu],
    ),
];

/// Every legal combination of options of every cell but PyTorch's own, two
/// layers, with these sizes; `bounded` leaves out activations without a bound.
pub fn variants(input_size: usize, hidden_size: usize, bounded: bool) -> Vec<RecurrentConfig> {
    let mut all = Vec::new();
    for bits in 0..1 << 6 {
        let bit = |k: u32| bits >> k & 1 == 1;
        for kind in CellKind::ALL {
            for lists in std::iter::once(None).chain(ACTIVATIONS.map(Some)) {
                let (rnn, gru, lstm) = lists.unwrap_or_default();
                let mut activations = match kind {
                    CellKind::Rnn => rnn,
                    CellKind::Gru => gru,
                    CellKind::Lstm => lstm,
                }
                .to_vec();
                if bit(1) && activations.len() == 5 {
                    let _ = activations.remove(1);
                }
                let unbounded = [Elu, LeakyRelu, Softplus, Relu, Identity];
                if bounded && activations.iter().any(|a| unbounded.contains(a)) {
                    continue;
                }
                let mut config = RecurrentConfig::new(kind, input_size, hidden_size);
                config.stack.num_layers = 2;
                config.options = CellOptions {
                    activations,
                    peepholes: bit(0),
                    coupled: bit(1),
                    cell_clip: bit(2).then_some(0.3),
                    layer_norm: bit(3),
                    reset_before: bit(4),
                    ..CellOptions::default()
                };
                if bit(5) {
                    config.proj_size = hidden_size.div_ceil(2);
                }
                let usual = config.options == CellOptions::default();
                let legal = config
                    .cell_config(input_size, hidden_size)
                    .validate()
                    .is_ok();
                if !usual && legal && config.proj_size < hidden_size {
                    all.push(config);
                }
            }
        }
    }
    all
}
