//! PyTorch code that gives the same numbers.

use crate::subject::Subject;
use elman::Result;
use elman::cell::{Bias, CellKind, Nonlinearity};
use elman::network::{NetworkConfig, Readout};
use std::fmt::Write;

/// Parameters, or numbers of input and target, beyond which the code does not
/// spell them out.
const SPELLED: usize = 2000;

/// Python code that runs the same training step: its `params` are tensors by
/// the names in elman's files.
///
/// # Errors
/// As [`Subject::recurrent`].
pub fn code(subject: &Subject) -> Result<String> {
    let r = subject.recurrent()?;
    let (layers, both) = (r.stack.num_layers, r.stack.bidirectional);
    let linear = !r.options.activations.is_empty();
    let class = match r.cell {
        CellKind::Rnn => "RNN",
        CellKind::Gru => "GRU",
        CellKind::Lstm => "LSTM",
    };
    let mut options = String::new();
    if layers > 1 {
        let _ = write!(options, ", num_layers={layers}");
    }
    if r.cell == CellKind::Rnn && r.nonlinearity == Nonlinearity::Relu {
        options.push_str(", nonlinearity=\"relu\"");
    }
    if r.bias == Bias::None {
        options.push_str(", bias=False");
    }
    if r.proj_size > 0 {
        let _ = write!(options, ", proj_size={}", r.proj_size);
    }
    if both {
        options.push_str(", bidirectional=True");
    }
    let (i, h) = (r.input_size, r.hidden_size);
    let mut text = String::from(
        "import torch\nfrom torch import nn\n\ntorch.set_default_dtype(torch.float64)\n",
    );
    if let Some(seed) = subject.seed {
        let _ = writeln!(text, "torch.manual_seed({seed})");
    }
    let layout = subject.params.layout();
    let size = |name: &str| {
        layout.find(name).map_or((0, 0), |e| {
            (e.shape[0], e.shape.get(1).copied().unwrap_or(1))
        })
    };
    let prefix = subject.prefix();
    let mut modules = Vec::new();
    if subject.readout().is_none() {
        let (rows, columns) = size("start.weight");
        let _ = writeln!(text, "start = nn.Linear({columns}, {rows})");
        modules.push("start");
    }
    let _ = writeln!(
        text,
        "{prefix} = nn.{class}({i}, {h}, batch_first=True{options})"
    );
    let (rows, columns) = size("head.weight");
    let _ = writeln!(text, "head = nn.Linear({columns}, {rows})");
    modules.extend([prefix, "head"]);
    let skips = layout.find("skip.weight").is_some();
    if skips {
        let (rows, columns) = size("skip.weight");
        let _ = writeln!(text, "skip = nn.Linear({columns}, {rows})");
        modules.push("skip");
    }
    let parts: Vec<String> = modules.iter().map(|m| format!("\"{m}\": {m}")).collect();
    let _ = writeln!(text, "parts = {{{}}}", parts.join(", "));
    text.push_str("params = {f\"{part}.{name}\": p for part, module in parts.items() for name, p in module.named_parameters()}\n");
    if r.bias == Bias::Single {
        text.push_str("\n# The theory has one bias B; PyTorch adds two. The second stays zero.\nfor name in [name for name in params if \"bias_hh\" in name]:\n    nn.init.zeros_(params.pop(name)).requires_grad_(False)\n");
    }
    let drawn = subject.drawn();
    let changed: Vec<_> = layout
        .entries()
        .iter()
        .filter(|e| {
            let now = &subject.params.values()[e.range.clone()];
            drawn
                .as_ref()
                .is_none_or(|d| d.get(&e.name).is_none_or(|d| d.iter().ne(now)))
        })
        .collect();
    if !changed.is_empty() && subject.params.values().len() <= SPELLED {
        text.push_str("\nwith torch.no_grad():\n");
        for e in changed {
            let values = &subject.params.values()[e.range.clone()];
            let _ = writeln!(
                text,
                "    params[\"{}\"].copy_(torch.tensor({values:?}).reshape({:?}))",
                e.name, e.shape
            );
        }
    } else if !changed.is_empty() {
        text.push_str(
            "\n# The parameters of the model file; of several networks, those of the first.\nfrom safetensors.torch import load_file\nweights = load_file(\"model.safetensors\")\nwith torch.no_grad():\n    for name, value in params.items():\n        value.copy_(weights[name] if name in weights else weights[\"0.\" + name])\n",
        );
    }
    let input = &subject.input;
    let rows: Vec<Vec<f64>> = input.rows().into_iter().map(|r| r.to_vec()).collect();
    let o = subject.outputs().max(1);
    let k = subject.target.len() / o;
    let numbers = input.len() + subject.target.len();
    if numbers > SPELLED {
        let _ = writeln!(
            text,
            "\n# The {numbers} numbers of input and target are too many to spell out: put them here.\nx = torch.empty(1, {}, {})  # (B, T, I)\ny = torch.empty({k}, {o})",
            input.nrows(),
            input.ncols()
        );
    } else {
        let _ = writeln!(
            text,
            "\ny = torch.tensor({:?}).reshape({k}, {o})",
            subject.target
        );
    }
    if linear {
        text.push_str(LINEAR);
    }
    let call = if linear {
        "linear_rnn(rnn, x)"
    } else {
        "rnn(x)"
    };
    match subject.network.config() {
        Some(NetworkConfig::OneToMany(_)) => {
            let vector = if numbers > SPELLED {
                "x[0, 0]".to_owned()
            } else {
                format!("torch.tensor({:?}, requires_grad=True)", rows[0])
            };
            let _ = writeln!(text, "v = {vector}");
            let _ = writeln!(
                text,
                "h = torch.tanh(start(v)).reshape({layers}, 1, {})",
                if r.proj_size > 0 { r.proj_size } else { h }
            );
            let (state, next) = match r.cell {
                CellKind::Lstm => (format!("(h, torch.zeros({layers}, 1, {h}))"), "state"),
                _ => ("h".to_owned(), "state"),
            };
            let step = if linear {
                "linear_rnn(decoder, out, state)"
            } else {
                "decoder(out, state)"
            };
            let _ = writeln!(
                text,
                "state, out, outs = {state}, torch.zeros(1, 1, {o}), []\nfor _ in range({k}):\n    output, {next} = {step}\n    out = head(output)\n    outs.append(out[0, 0])\nprediction = torch.stack(outs)"
            );
        }
        Some(NetworkConfig::Sequence(c)) => {
            if numbers <= SPELLED {
                let _ = writeln!(
                    text,
                    "x = torch.tensor([{rows:?}], requires_grad=True)  # (B, T, I)"
                );
            }
            let _ = writeln!(text, "output, h_n = {call}");
            if r.cell == CellKind::Lstm {
                text.push_str("h_n, c_n = h_n\n");
            }
            let read = match c.readout {
                Readout::EveryStep => "head(output[0])".to_owned(),
                Readout::LastSteps(k) => format!("head(output[0, -{k}:])"),
                Readout::AllStates(_) => "head(output.reshape(1, -1))  # the states side by side".to_owned(),
                Readout::LastState if both => "head(torch.cat([h_n[-2], h_n[-1]], 1))  # not output[:, -1]: the reverse direction ends at step 0".to_owned(),
                Readout::LastState => "head(h_n[-1])".to_owned(),
            };
            let _ = writeln!(text, "prediction = {read}");
            if let (true, Some(u)) = (skips, &subject.skip) {
                let _ = writeln!(
                    text,
                    "prediction = prediction + skip(torch.tensor({u:?})).reshape({k}, {o})"
                );
            }
        }
        _ => {}
    }
    let _ = write!(
        text,
        "loss = (prediction - y).square().mean()\n\noptimizer = torch.optim.SGD(params.values(), lr={:?})\noptimizer.zero_grad()\nloss.backward()\nprint(\"loss\", loss.item())\nfor name, p in params.items():\n    print(name, p.grad)\noptimizer.step()\n",
        subject.lr
    );
    Ok(text)
}

/// A layer of PyTorch's without its activation.
const LINEAR: &str = "
def linear_rnn(rnn, x, h=None):
    \"\"\"nn.RNN without an activation, which PyTorch does not have.\"\"\"
    dirs = 2 if rnn.bidirectional else 1
    last = []
    for layer in range(rnn.num_layers):
        sides = []
        for d in range(dirs):
            w_ih, w_hh, b_ih, b_hh = rnn.all_weights[layer * dirs + d]
            s = torch.zeros(1, rnn.hidden_size) if h is None else h[layer * dirs + d]
            steps, states = range(x.shape[1]), {}
            for t in reversed(steps) if d else steps:
                s = x[:, t] @ w_ih.T + b_ih + s @ w_hh.T + b_hh
                states[t] = s
            sides.append(torch.stack([states[t] for t in steps], 1))
            last.append(s)
        x = torch.cat(sides, 2)
    return x, torch.stack(last)

";
