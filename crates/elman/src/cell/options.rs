//! What cells can do beyond PyTorch's, and which of it goes together.

use super::{Activation, Bias, CellKind, Init, Nonlinearity, Sizes};
use crate::error::expect;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// What PyTorch's cells lack; the default is PyTorch's cell.
///
/// Parameters that an option adds come after PyTorch's: peepholes, then gains
/// and offsets. What does not go together is refused by name.
///
/// ```
/// use elman::cell::CellKind;
/// use elman::layer::{Recurrent, RecurrentConfig};
/// let mut config = RecurrentConfig::new(CellKind::Gru, 3, 8);
/// config.options.reset_before = true;
/// config.options.init.orthogonal = true;
/// let layer = Recurrent::<f32>::new(&config, 0)?;
///
/// config.options.layer_norm = true;
/// let refused = Recurrent::<f32>::new(&config, 0).unwrap_err();
/// assert!(refused.to_string().starts_with("reset_before with layer_norm"));
/// # Ok::<(), elman::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CellOptions {
    /// The activation of each pointwise function; empty for PyTorch's. RNN: h;
    /// GRU: r, z, n; LSTM: i, f, g, o and the one applied to `c'`, or with
    /// `coupled` i, g, o and that.
    #[serde(skip_serializing_if = "is_default")]
    pub activations: Vec<Activation>,
    /// GRU: the reset gate acts before the matrix product, `n = tanh(W_in x +
    /// b_in + W_hn (r * h) + b_hn)`, as Cho et al. (2014) have it; Keras'
    /// `reset_after=False`.
    #[serde(skip_serializing_if = "is_default")]
    pub reset_before: bool,
    /// LSTM: the gates see the cell state, `W_ci * c` in i, `W_cf * c` in f,
    /// `W_co * c'` in o (Gers and Schmidhuber, 2000). Parameters `weight_ci`,
    /// `weight_cf` (not with `coupled`), `weight_co`, each (H).
    #[serde(skip_serializing_if = "is_default")]
    pub peepholes: bool,
    /// LSTM: `f = 1 - i` (Greff et al., 2017; ONNX's `input_forget`). The
    /// weights have the three gates i, g, o.
    #[serde(skip_serializing_if = "is_default")]
    pub coupled: bool,
    /// LSTM: `c'` is limited to `[-clip, clip]`, as TensorFlow does; its
    /// derivative is zero where the limit is reached.
    #[serde(skip_serializing_if = "is_default")]
    pub cell_clip: Option<f64>,
    /// Layer normalisation inside the cell (Ba et al., 2016): `W_ih x` and
    /// `W_hh h` are each normalised over all their `G*H` numbers, with gain and
    /// offset, before the biases; an LSTM normalises `c'` before the activation
    /// of the output, and carries it as it is. Biased variance, epsilon 1e-5.
    /// Parameters `norm_ih_weight`, `norm_ih_bias`, `norm_hh_weight`,
    /// `norm_hh_bias`, each (G*H), and in an LSTM `norm_c_weight`,
    /// `norm_c_bias`, each (H); at first gains are 1 and offsets 0.
    #[serde(skip_serializing_if = "is_default")]
    pub layer_norm: bool,
    /// Initial values.
    #[serde(skip_serializing_if = "is_default")]
    pub init: Init,
}

/// For `skip_serializing_if`: options at their defaults are not written, so
/// that a model file without them is what it was before there were any.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// All that makes a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct CellConfig {
    /// Which cell it is.
    pub cell: CellKind,
    /// Input and hidden size, and the biases.
    pub sizes: Sizes,
    /// The activation of an RNN.
    pub nonlinearity: Nonlinearity,
    /// `R`, the size of `h` where an LSTM projects it; 0 for none.
    pub proj_size: usize,
    /// What PyTorch's cells lack.
    pub options: CellOptions,
}

impl CellConfig {
    /// PyTorch's defaults.
    pub fn new(cell: CellKind, input_size: usize, hidden_size: usize) -> Self {
        Self {
            cell,
            sizes: Sizes {
                input_size,
                hidden_size,
                bias: Bias::Both,
            },
            nonlinearity: Nonlinearity::Tanh,
            proj_size: 0,
            options: CellOptions::default(),
        }
    }

    /// `G`, as a multiple of the hidden size in the weights' rows.
    pub fn gates(&self) -> usize {
        self.cell.gates() - usize::from(self.options.coupled)
    }

    /// Refuses options that do not go together or do not fit the cell.
    ///
    /// # Errors
    /// Names the option and what it does not go with. Sizes are left to the
    /// layer.
    pub fn validate(&self) -> Result<()> {
        let Self {
            cell,
            nonlinearity,
            proj_size,
            options: ref o,
            ..
        } = *self;
        let refuse = |text: String| Err(Error::option(text));
        if nonlinearity != Nonlinearity::Tanh && cell != CellKind::Rnn {
            return refuse(format!(
                "nonlinearity: only an RNN has a choice of activation, not a {cell}; use activations"
            ));
        }
        if proj_size > 0 && cell != CellKind::Lstm {
            return refuse(
                "proj_size argument is only supported for LSTM, not RNN or GRU".to_owned(),
            );
        }
        for (asked, name, of) in [
            (o.reset_before, "reset_before", CellKind::Gru),
            (o.peepholes, "peepholes", CellKind::Lstm),
            (o.coupled, "coupled", CellKind::Lstm),
            (o.cell_clip.is_some(), "cell_clip", CellKind::Lstm),
        ] {
            if asked && cell != of {
                return refuse(format!("{name}: for {of} only, not {cell}"));
            }
        }
        if o.reset_before && o.layer_norm {
            return refuse(
                "reset_before with layer_norm: W_hh h is normalised over all gates, and here the gates read different states; choose one".to_owned(),
            );
        }
        if let Some(clip) = o.cell_clip {
            // In both types.
            let fits = clip as f32 > 0.0 && (clip as f32).is_finite();
            expect(fits, "cell_clip", "a positive finite number", clip)?;
        }
        let named = self.activation_names();
        if !o.activations.is_empty() {
            if nonlinearity != Nonlinearity::Tanh {
                return refuse(
                    "nonlinearity with activations: both name the activation of h; leave nonlinearity at tanh".to_owned(),
                );
            }
            let expected = format!("{} ({cell}: {})", named.len(), named.join(", "));
            let got = o.activations.len();
            expect(got == named.len(), "activations", &expected, got)?;
        }
        o.init.validate(self)
    }

    /// What each of the [activations](CellOptions::activations) is for, in their
    /// order.
    pub fn activation_names(&self) -> &'static [&'static str] {
        match self.cell {
            CellKind::Rnn => &["h"],
            CellKind::Gru => &["r", "z", "n"],
            CellKind::Lstm if self.options.coupled => &["i", "g", "o", "cell"],
            CellKind::Lstm => &["i", "f", "g", "o", "cell"],
        }
    }

    /// PyTorch's activations of the cell.
    fn default_activations(&self) -> &'static [Activation] {
        use Activation::{Relu, Sigmoid, Tanh};
        match self.cell {
            CellKind::Rnn if self.nonlinearity == Nonlinearity::Relu => &[Relu],
            CellKind::Rnn => &[Tanh],
            CellKind::Gru => &[Sigmoid, Sigmoid, Tanh],
            CellKind::Lstm if self.options.coupled => &[Sigmoid, Tanh, Sigmoid, Tanh],
            CellKind::Lstm => &[Sigmoid, Sigmoid, Tanh, Sigmoid, Tanh],
        }
    }

    /// The activations, PyTorch's where none are given. RNN: h; GRU: r, z, n;
    /// LSTM: i, f, g, o, cell, where a coupled f has that of i. The rest is not
    /// used.
    pub(super) fn activations(&self) -> [Activation; 5] {
        let given = match self.options.activations.as_slice() {
            [] => self.default_activations(),
            given => given,
        };
        let mut all = [Activation::Identity; 5];
        for (to, from) in all.iter_mut().zip(given) {
            *to = *from;
        }
        match all {
            [i, g, o, cell, _] if self.options.coupled => [i, i, g, o, cell],
            all => all,
        }
    }

    /// True where the activations given are PyTorch's.
    pub(super) fn usual_activations(&self) -> bool {
        let given = self.options.activations.as_slice();
        given.is_empty() || given == self.default_activations()
    }
}
