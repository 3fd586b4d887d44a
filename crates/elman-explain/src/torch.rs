//! PyTorch code that gives the same numbers.

use crate::subject::{Stored, Subject};
use elman::Result;
use elman::cell::{Bias, CellKind, Nonlinearity};
use elman::layer::RecurrentConfig;
use elman::network::{NetworkConfig, Readout, SequenceConfig};
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
    let linear = !r.options.activations.is_empty();
    let mut text = modules(subject, &r);
    text.push_str(&parameters(subject, &r));
    text.push_str(&target(subject));
    if linear {
        text.push_str(LINEAR);
    }
    match subject.network.config() {
        Some(NetworkConfig::OneToMany(_)) => text.push_str(&one_to_many(subject, &r)),
        Some(NetworkConfig::Sequence(c)) => text.push_str(&sequence(subject, &r, &c)),
        _ => {}
    }
    let _ = write!(
        text,
        "loss = (prediction - y).square().mean()\n\noptimizer = torch.optim.SGD(params.values(), lr={:?})\noptimizer.zero_grad()\nloss.backward()\nprint(\"loss\", loss.item())\nfor name, p in params.items():\n    print(name, p.grad)\noptimizer.step()\n",
        subject.lr
    );
    Ok(text)
}

/// Imports, seed, layers, and `params`.
fn modules(subject: &Subject, r: &RecurrentConfig) -> String {
    let class = match r.cell {
        CellKind::Rnn => "RNN",
        CellKind::Gru => "GRU",
        CellKind::Lstm => "LSTM",
    };
    let mut options = String::new();
    if r.stack.num_layers > 1 {
        let _ = write!(options, ", num_layers={}", r.stack.num_layers);
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
    if r.stack.bidirectional {
        options.push_str(", bidirectional=True");
    }
    let mut text = String::from(
        "import torch\nfrom torch import nn\n\ntorch.set_default_dtype(torch.float64)\n",
    );
    if let Some(seed) = subject.seed {
        let _ = writeln!(text, "torch.manual_seed({seed})");
    }
    let prefix = subject.prefix();
    let mut modules = Vec::new();
    for name in ["start", prefix, "head", "skip"] {
        let own = format!("{name}.weight");
        let weight = subject.parameters().find(|e| e.name == own);
        if name == prefix {
            let (i, h) = (r.input_size, r.hidden_size);
            let _ = writeln!(
                text,
                "{name} = nn.{class}({i}, {h}, batch_first=True{options})"
            );
        } else if let Some([rows, columns]) = weight.map(|e| e.shape.as_slice()) {
            let _ = writeln!(text, "{name} = nn.Linear({columns}, {rows})");
        } else {
            continue;
        }
        modules.push(name);
    }
    let parts: Vec<String> = modules.iter().map(|m| format!("\"{m}\": {m}")).collect();
    let _ = writeln!(text, "parts = {{{}}}", parts.join(", "));
    text.push_str("params = {f\"{part}.{name}\": p for part, module in parts.items() for name, p in module.named_parameters()}\n");
    text
}

/// What is not as PyTorch draws it: biases that the theory does not have, and
/// numbers that were set or come from a file.
fn parameters(subject: &Subject, r: &RecurrentConfig) -> String {
    let mut text = String::new();
    if r.bias == Bias::Single {
        text.push_str("\n# The theory has one bias B; PyTorch adds two. The second stays zero.\nfor name in [name for name in params if \"bias_hh\" in name]:\n    nn.init.zeros_(params.pop(name)).requires_grad_(False)\n");
    }
    let values = subject.params.values();
    let drawn = subject.drawn();
    let as_drawn = |name: &str, now: &[f64]| {
        let drawn = drawn.as_ref().and_then(|d| d.get(name));
        drawn.is_some_and(|d| d.iter().eq(now))
    };
    let changed: Vec<_> = subject
        .parameters()
        .filter(|e| !as_drawn(&e.name, &values[e.range.clone()]))
        .collect();
    if !changed.is_empty() && values.len() <= SPELLED {
        text.push_str("\nwith torch.no_grad():\n");
        for e in changed {
            let _ = writeln!(
                text,
                "    params[\"{}\"].copy_(torch.tensor({:?}).reshape({:?}))",
                e.name,
                &values[e.range.clone()],
                e.shape
            );
        }
    } else if !changed.is_empty() {
        if let Some(file) = &subject.names.file {
            text.push_str(&loaded(subject, file));
        } else if subject.seed.is_none() {
            text.push_str("\n# The parameters are too many to spell out, and of no file: put them into params here.\n");
        }
        text.push_str(&set(subject));
    }
    text
}

/// A string of Python's.
fn quoted(text: &str) -> String {
    serde_json::json!(text).to_string()
}

/// Parameters that are read from their file.
fn loaded(subject: &Subject, file: &Stored) -> String {
    let mut text = String::from("\n# The numbers of the file.\n");
    let path = quoted(&file.path);
    if file.torch {
        let keys: String = file
            .keys
            .iter()
            .map(|k| format!("[{}]", quoted(k)))
            .collect();
        let _ = writeln!(
            text,
            "weights = torch.load({path}, map_location=\"cpu\", weights_only=True){keys}"
        );
    } else {
        let _ = writeln!(
            text,
            "from safetensors.torch import load_file  # pip install safetensors\nweights = load_file({path})"
        );
    }
    // Whole numbers of 8 bits are no weights before they are multiplied.
    let tensor = |name: &str| match file.scaled {
        true => format!("scaled({name})"),
        false => format!("weights[{name}]"),
    };
    if file.scaled {
        text.push_str(SCALED);
    }
    let Some(tensors) = &file.tensors else {
        let own = tensor("name if name in weights else \"0.\" + name");
        let _ = writeln!(
            text,
            "with torch.no_grad():\n    for name, p in params.items():  # of several networks, the first\n        p.copy_({own})"
        );
        return text;
    };
    text.push_str("with torch.no_grad():\n");
    for entry in subject.parameters() {
        let name = quoted(&entry.name);
        let of = tensors.iter().find(|(own, _)| *own == entry.name);
        let _ = match of {
            Some((_, own)) => {
                writeln!(text, "    params[{name}].copy_({})", tensor(&quoted(own)))
            }
            None => writeln!(text, "    params[{name}].zero_()  # not in the file"),
        };
    }
    text
}

/// Numbers that were set, one by one.
fn set(subject: &Subject) -> String {
    let mut text = String::new();
    for at in &subject.names.set {
        let entries = subject.params.layout().entries();
        let Some(entry) = entries.iter().find(|e| e.range.contains(at)) else {
            continue;
        };
        let (mut index, mut rest) = (Vec::new(), at - entry.range.start);
        for side in entry.shape.iter().rev() {
            index.insert(0, (rest % side).to_string());
            rest /= side;
        }
        let _ = writeln!(
            text,
            "    params[{}][{}] = {:?}",
            quoted(&entry.name),
            index.join(", "),
            subject.params.values()[*at]
        );
    }
    if !text.is_empty() {
        text.insert_str(0, "\n# Numbers that were set.\nwith torch.no_grad():\n");
    }
    text
}

/// Whether input and target are few enough numbers to be spelled out.
fn spelled(subject: &Subject) -> bool {
    subject.input.len() + subject.target.len() <= SPELLED
}

/// K and O of the target.
fn predicted(subject: &Subject) -> (usize, usize) {
    let o = subject.outputs().max(1);
    (subject.target.len() / o, o)
}

/// `y`, (K, O); where there are too many numbers, empty tensors for it and the input.
fn target(subject: &Subject) -> String {
    let (k, o) = predicted(subject);
    if spelled(subject) {
        return format!(
            "\ny = torch.tensor({:?}).reshape({k}, {o})\n",
            subject.target
        );
    }
    let (steps, features) = subject.input.dim();
    format!(
        "\n# The {} numbers of input and target are too many to spell out: put them here.\nx = torch.empty(1, {steps}, {features})  # (B, T, I)\ny = torch.empty({k}, {o})\n",
        subject.input.len() + subject.target.len()
    )
}

/// The prediction of a network that reads its own output, from a vector.
fn one_to_many(subject: &Subject, r: &RecurrentConfig) -> String {
    let (k, o) = predicted(subject);
    let (layers, h) = (r.stack.num_layers, r.hidden_size);
    let vector = match spelled(subject) {
        true => format!(
            "torch.tensor({:?}, requires_grad=True)",
            subject.input.row(0).to_vec()
        ),
        false => "x[0, 0]".to_owned(),
    };
    let width = match r.proj_size {
        0 => h,
        projected => projected,
    };
    let state = match r.cell {
        CellKind::Lstm => format!("(h, torch.zeros({layers}, 1, {h}))"),
        _ => "h".to_owned(),
    };
    let step = match r.options.activations.is_empty() {
        true => "decoder(out, state)",
        false => "linear_rnn(decoder, out, state)",
    };
    format!(
        "v = {vector}\nh = torch.tanh(start(v)).reshape({layers}, 1, {width})\nstate, out, outs = {state}, torch.zeros(1, 1, {o}), []\nfor _ in range({k}):\n    output, state = {step}\n    out = head(output)\n    outs.append(out[0, 0])\nprediction = torch.stack(outs)\n"
    )
}

/// The prediction of a network that reads a sequence.
fn sequence(subject: &Subject, r: &RecurrentConfig, config: &SequenceConfig) -> String {
    let mut text = String::new();
    if spelled(subject) {
        let rows = subject.input.rows().into_iter().map(|row| row.to_vec());
        let rows: Vec<Vec<f64>> = rows.collect();
        let _ = writeln!(
            text,
            "x = torch.tensor([{rows:?}], requires_grad=True)  # (B, T, I)"
        );
    }
    let call = match r.options.activations.is_empty() {
        true => "rnn(x)",
        false => "linear_rnn(rnn, x)",
    };
    let _ = writeln!(text, "output, h_n = {call}");
    if r.cell == CellKind::Lstm {
        text.push_str("h_n, c_n = h_n\n");
    }
    let read = match config.readout {
        Readout::LastState if subject.bare && r.stack.bidirectional => "torch.cat([h_n[-2], h_n[-1]], 1)  # not output[:, -1]: the reverse direction ends at step 0".to_owned(),
        Readout::LastState if subject.bare => "h_n[-1]".to_owned(),
        Readout::EveryStep if subject.bare => "output[0]".to_owned(),
        Readout::EveryStep => "head(output[0])".to_owned(),
        Readout::LastSteps(k) => format!("head(output[0, -{k}:])"),
        Readout::AllStates(_) => "head(output.reshape(1, -1))  # the states side by side".to_owned(),
        Readout::LastState if r.stack.bidirectional => "head(torch.cat([h_n[-2], h_n[-1]], 1))  # not output[:, -1]: the reverse direction ends at step 0".to_owned(),
        Readout::LastState => "head(h_n[-1])".to_owned(),
    };
    let _ = writeln!(text, "prediction = {read}");
    if let (Some(_), Some(u)) = (&config.skip, &subject.skip) {
        let (k, o) = predicted(subject);
        let _ = writeln!(
            text,
            "prediction = prediction + skip(torch.tensor({u:?})).reshape({k}, {o})"
        );
    }
    text
}

/// The numbers of a tensor that is stored as whole numbers.
const SCALED: &str = "
def scaled(name):
    \"\"\"A tensor of the file; of whole numbers, each row times its scale.\"\"\"
    scale = weights.get(name + \"_scale\")
    return weights[name] if scale is None else weights[name].float() * scale[:, None]

";

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
