//! What a trace promises: sums of parts, formulas that give the numbers, finite
//! differences, both languages.

use elman::cell::CellKind;
use elman::ndarray::ArrayD;
use elman::weights::{TensorFile, write_tensors};
use elman_explain::Subject;
use elman_explain::check::check;
use elman_explain::figures::Operand;
use elman_explain::norms::{EXPLODING, Judged, VANISHING, Verdict, norms};
use elman_explain::numbers::{parse_input, parse_table};
use elman_explain::render::page;
use elman_explain::render::terminal::{self, View};
use elman_explain::setup::{Configuration, Request, RnnActivation, assign};
use elman_explain::text::short;
use elman_explain::trace::document::READABLE;
use elman_explain::trace::graph::{Origin, Role};
use elman_explain::trace::{Step, Trace, hold, step};
use elman_explain::words::WORDS;
use serde_json::Value;
use std::collections::BTreeSet;

#[allow(dead_code)] // its `main`, and what only it prints
#[path = "../../elman/examples/worked_example.rs"]
mod worked_example;

fn trace(change: impl FnOnce(&mut Request)) -> Trace {
    let mut request = Request::default();
    change(&mut request);
    Trace::new(&request.subject().unwrap()).unwrap()
}

fn grid() -> Vec<Trace> {
    let mut all = Vec::new();
    for cell in CellKind::ALL {
        all.push(trace(|r| r.cell = cell));
        all.push(trace(|r| (r.cell, r.layers, r.hidden) = (cell, 2, 1)));
        all.push(trace(|r| {
            (r.cell, r.bidirectional, r.last_state) = (cell, true, true);
        }));
        for configuration in [Configuration::ManyToMany, Configuration::OneToMany] {
            all.push(trace(|r| (r.cell, r.configuration) = (cell, configuration)));
        }
    }
    for nonlinearity in [RnnActivation::Relu, RnnActivation::Linear] {
        all.push(trace(|r| r.nonlinearity = nonlinearity));
    }
    all
}

/// Tracing itself holds every number against the engine; here each gradient is
/// the finite difference, too, and each state's is the sum of its two parts.
#[test]
fn gradients_are_finite_differences_and_sums_of_their_parts() {
    for t in grid() {
        let name = format!("{} {}", t.about.network, t.about.configuration);
        let check = t.check.as_ref().unwrap();
        assert!(check.largest < 1e-6, "{name}: {check:?}");
        assert!(
            check.numbers > 50 && check.skipped < check.numbers / 4,
            "{name}: {check:?}"
        );
        let mut states = 0;
        for v in t
            .values
            .iter()
            .filter(|v| v.role == Role::State && v.place.layer.is_some())
        {
            let sum = |role| {
                let all = t
                    .values
                    .iter()
                    .filter(|g| g.of == Some(v.id) && g.role == role);
                let all = all.filter(|g| g.via.is_none());
                let parts: Vec<_> = all.collect();
                let sums =
                    (0..v.numbers.len()).map(|i| parts.iter().map(|p| p.numbers[i]).sum::<f64>());
                (parts.len(), sums.collect::<Vec<f64>>())
            };
            let ((parts, sum), (_, total)) = (sum(Role::Share), sum(Role::Gradient));
            assert_eq!(parts, 2, "{name}: {}", v.symbol);
            for (a, b) in sum.iter().zip(&total) {
                assert!(
                    (a - b).abs() <= 1e-15 * b.abs().max(1.0),
                    "{name}: {}",
                    v.symbol
                );
            }
            states += 1;
        }
        assert!(states >= 3, "{name}");
    }
}

/// A gradient that misses a term is found: the check is no formality.
#[test]
fn a_wrong_number_is_told_from_a_right_one() {
    for cell in CellKind::ALL {
        let request = Request {
            cell,
            ..Request::default()
        };
        let subject = request.subject().unwrap();
        let right = step(&subject).unwrap();
        let (found, _) = check(&subject, &right).unwrap();
        assert!(found.largest < 1e-6, "{found:?}");
        let symbols = ["dL/dh^1", "dL/dh^1[next]", "dL/dW_y"];
        for symbol in symbols {
            let mut wrong = right.clone();
            let nodes = &mut wrong.forward.graph.nodes;
            let at = |symbol: &str| {
                right
                    .forward
                    .graph
                    .nodes
                    .iter()
                    .position(|n| n.symbol == symbol)
            };
            let part = right.forward.graph.nodes[at("dL/dh^1[loss]").unwrap()]
                .numbers
                .clone();
            let numbers = &mut nodes[at(symbol).unwrap()].numbers;
            match symbol {
                // The part from the next step is left out.
                "dL/dh^1" => *numbers = part,
                _ => numbers[0] += 1e-3,
            }
            let (found, finite) = check(&subject, &wrong).unwrap();
            assert_eq!(found.at, symbol, "{cell}");
            assert!(found.largest > 1e-3, "{cell} {symbol}: {found:?}");
            let apart = finite[at(symbol).unwrap()].as_ref().unwrap().difference;
            assert_eq!(apart, Some(found.largest));
        }
    }
}

/// A trace with a number that is not the engine's is refused by its name.
#[test]
fn a_trace_that_is_not_the_engines_is_refused() {
    let mut refused = 0;
    for configuration in [Configuration::ManyToOne, Configuration::OneToMany] {
        for cell in CellKind::ALL {
            let request = Request {
                cell,
                configuration,
                ..Request::default()
            };
            let subject = request.subject().unwrap();
            let right = step(&subject).unwrap();
            hold(&subject, &right).unwrap();
            let one_to_many = configuration == Configuration::OneToMany;
            let mut symbols = vec![
                ("ŷ", "prediction"),
                ("L", "loss"),
                ("dL/dW_y", "gradient of head.weight"),
                ("W_y′", "head.weight after the update"),
                ("b_y′", "head.bias after the update"),
            ];
            match one_to_many {
                true => {
                    symbols[0].0 = "ŷ^3";
                    symbols.push(("dL/dv", "dL/dv"));
                    symbols.push(("dL/dW_s", "gradient of start.weight"));
                }
                false => {
                    symbols.push(("h^2", "h^2"));
                    symbols.push(("dL/dx^1", "dL/dx^1"));
                    symbols.push(("dL/dh^0", "gradient of the first states"));
                    match cell {
                        CellKind::Rnn => symbols.push(("W_h′", "rnn.weight_hh_l0 after")),
                        CellKind::Gru => {
                            symbols.push(("q^1", "q^1"));
                            symbols.push(("dL/dW_hn", "gradient of rnn.weight_hh_l0"));
                        }
                        CellKind::Lstm => {
                            symbols.push(("o^3", "o^3"));
                            symbols.push(("c^1", "c^1"));
                            symbols.push(("dL/dB_f", "gradient of rnn.bias_ih_l0"));
                        }
                    }
                }
            }
            for (symbol, said) in symbols {
                let mut wrong = right.clone();
                let nodes = &mut wrong.forward.graph.nodes;
                let node = nodes.iter_mut().find(|n| n.symbol == symbol);
                let number = &mut node.unwrap_or_else(|| panic!("{symbol}")).numbers[0];
                *number += 1e-6 * number.abs().max(1e-1);
                let e = hold(&subject, &wrong).unwrap_err().to_string();
                assert!(
                    e.starts_with(said) && e.contains("the engine"),
                    "{said}: {e}"
                );
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 8 * 3 + 1 + 2 + 3 + 7 * 3);
}

#[test]
fn the_same_request_gives_the_same_page_without_outside_links() {
    let once = page::html(&trace(|r| r.cell = CellKind::Gru));
    assert_eq!(once, page::html(&trace(|r| r.cell = CellKind::Gru)));
    assert!(once.len() < 1_000_000);
    for outside in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(!once.contains(outside), "{outside}");
    }
    assert!(trace(|_| {}).training.len() > 50);
}

/// The largest request below the limit of what is shown number by number, as
/// one number grows.
fn largest(request: &Request, grow: impl Fn(&mut Request, usize)) -> Option<Request> {
    let fits = |n| {
        let mut request = request.clone();
        grow(&mut request, n);
        let step = step(&request.subject().unwrap()).unwrap();
        let numbers = step.forward.graph.numbers() + step.left_out;
        (numbers <= READABLE).then_some(request)
    };
    (1..).map_while(fits).last()
}

/// The page stays below 1 MB for everything that is shown number by number,
/// wide or long, and far beyond it.
#[test]
fn every_page_is_under_a_megabyte() {
    let steps = |n: usize| {
        let all: Vec<String> = (1..=n).map(|x| (x * 3).to_string()).collect();
        all.join(" ")
    };
    let (mut pages, mut most) = (0, 0);
    let mut hold = |request: &Request, readable: bool| {
        let trace = Trace::new(&request.subject().unwrap()).unwrap();
        assert_eq!(trace.about.readable, readable, "{request:?}");
        let size = page::html(&trace).len();
        assert!(size < 1_000_000, "{size} bytes: {request:?}");
        assert!(trace.training.len() > 50, "{request:?}");
        (pages, most) = (pages + 1, most.max(size));
    };
    for cell in CellKind::ALL {
        for (layers, bidirectional) in [(1, false), (1, true), (2, false), (2, true)] {
            for configuration in [
                Configuration::ManyToOne,
                Configuration::ManyToMany,
                Configuration::OneToMany,
            ] {
                if bidirectional && configuration == Configuration::OneToMany {
                    continue;
                }
                let request = Request {
                    cell,
                    layers,
                    bidirectional,
                    configuration,
                    lr: 1e-3,
                    ..Request::default()
                };
                let wide = largest(&request, |r, n| r.hidden = n);
                let long = largest(&request, |r, n| {
                    r.hidden = 1;
                    let (input, target) = match configuration {
                        Configuration::ManyToOne => (steps(n), "1".into()),
                        Configuration::ManyToMany => (steps(n), steps(n)),
                        Configuration::OneToMany => ("1".into(), steps(n)),
                    };
                    (r.input, r.target) = (Some(input), Some(target));
                });
                for request in [wide, long].into_iter().flatten() {
                    hold(&request, true);
                }
            }
        }
    }
    for (hidden, layers, count) in [(16, 1, 300), (80, 1, 60), (12, 8, 40)] {
        let request = Request {
            cell: CellKind::Lstm,
            layers,
            hidden,
            bidirectional: true,
            configuration: Configuration::ManyToMany,
            input: Some(steps(count)),
            target: Some(steps(count)),
            lr: 1e-9,
            ..Request::default()
        };
        hold(&request, false);
    }
    println!("{pages} pages, the largest of {most} bytes");
    assert!(pages > 40, "{pages}");
}

/// What [`page::packed`] has written.
fn unpacked(text: &Value) -> Vec<Option<f64>> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    let chars: Vec<char> = text.as_str().unwrap().chars().collect();
    let number = |five: &[char]| {
        let digit = |c: &char| DIGITS.find(*c).unwrap() as u32;
        let bits = five.iter().fold(0, |bits, c| bits << 6 | digit(c));
        let (digits, power) = (bits & 0x3ffff, bits >> 18);
        let text = format!("{}e{}", i64::from(digits) - 131072, i64::from(power) - 1024);
        (power != 4095).then(|| text.parse().unwrap())
    };
    chars.chunks(5).map(number).collect()
}

fn assert_shown(name: &str, shown: &Value, all: impl IntoIterator<Item = f64>) {
    let (shown, all): (_, Vec<f64>) = (unpacked(shown), all.into_iter().collect());
    assert_eq!(shown.len(), all.len(), "{name}");
    for (shown, x) in shown.into_iter().zip(all) {
        let five = x.is_finite().then(|| format!("{x:.4e}").parse().unwrap());
        assert_eq!(shown, five, "{name}: {x}");
    }
}

/// Every figure says where its number stands, at any recorded training step, and
/// its operands give that number.
#[test]
fn figures_are_made_of_their_operands() {
    let mut compared = 0;
    for t in grid() {
        let json = serde_json::to_value(&t).unwrap();
        for f in &t.figures {
            let there = json.pointer(&f.at).unwrap();
            assert_eq!(there.as_f64(), f.number, "{}", f.at);
            let numbers: Option<Vec<f64>> = f
                .operands
                .iter()
                .map(|o| match o {
                    Operand::Value((v, i)) => Some(t.values[*v].numbers[*i]),
                    Operand::Figure(k) => t.figures[*k].number,
                })
                .collect();
            let path: Vec<&str> = f.at.split('/').collect();
            let smallest = t.check.as_ref().unwrap().smallest;
            let (Some(x), Some(all)) = (f.number, numbers) else {
                assert!(matches!(path.last(), Some(&"factor" | &"crossed_after")));
                continue;
            };
            let expected = match (path[1], path[path.len() - 1]) {
                ("norms", "norm" | "from_loss" | "from_next") => {
                    all.iter().map(|x| x * x).sum::<f64>().sqrt()
                }
                ("norms", "factor") if path.len() == 6 => all[0] / all[1],
                ("norms", "factor") => all.iter().product::<f64>().powf(1.0 / all.len() as f64),
                ("norms", _) => (1000_f64.ln() / all[0].ln().abs()).ceil().max(1.0),
                ("heat", "outside") => {
                    let [low, high] = t.heat[path[2].parse::<usize>().unwrap()].bounds.unwrap();
                    all.iter().filter(|x| **x < low || **x > high).count() as f64
                }
                ("heat", _) => {
                    let h = &t.heat[path[2].parse::<usize>().unwrap()];
                    let count = h.rows.iter().flatten().count() as f64;
                    (1000.0 * all[0] / count).round() / 10.0
                }
                ("connectivity", _) | ("check", "up" | "down") => continue,
                ("check", "finite") => {
                    (all[0] - all[1]) / (2.0 * t.check.as_ref().unwrap().farthest.by)
                }
                _ => (all[0] - all[1]).abs() / all.get(2).map_or(smallest, |x| x.abs()),
            };
            let near = (x - expected).abs() <= 1e-12 * x.abs();
            assert!(near, "{}: {x}, {} is {expected}", f.at, f.filled);
            assert!(f.filled.is_empty() == f.template.is_empty() && !f.symbol.is_empty());
            assert!(!f.filled.contains('{') && !f.symbols.contains('{'), "{f:?}");
            compared += 1;
        }
        // Each number of the tables of norms and of connectivity has one.
        let known: BTreeSet<&str> = t.figures.iter().map(|f| f.at.as_str()).collect();
        assert_eq!(known.len(), t.figures.len());
        for (k, n) in t.norms.iter().enumerate() {
            for (i, s) in n.steps.iter().enumerate() {
                for field in ["norm", "from_loss", "from_next", "factor"] {
                    let at = format!("/norms/{k}/steps/{i}/{field}");
                    let none = field == "factor" && s.factor.is_none();
                    assert!(none || known.contains(at.as_str()), "{at}");
                }
            }
            let mean = format!("/norms/{k}/factor");
            assert!(
                n.factor.is_none() || known.contains(mean.as_str()),
                "{mean}"
            );
        }
        for (k, row) in t.connectivity.rows.iter().enumerate() {
            let last = format!("/connectivity/rows/{k}/{}", row.len() - 1);
            assert!(known.contains(last.as_str()), "{last}");
        }
        for (k, h) in t.heat.iter().enumerate() {
            let share = format!("/heat/{k}/percent");
            assert_eq!(h.percent.is_some(), known.contains(share.as_str()));
        }
        assert_eq!(
            t.training[0].percent,
            t.heat.iter().map(|h| h.percent).collect::<Vec<_>>()
        );
    }
    assert!(compared > 500, "{compared}");
    assert!(
        (EXPLODING * VANISHING - 1.0).abs() < 1e-15,
        "one formula for both"
    );
    // A larger step has no values to make them of.
    assert!(trace(|r| r.hidden = 24).figures.is_empty());
}

/// The finite difference that is told is computed with the engine's loss.
#[test]
fn the_farthest_gradient_is_told_with_both_losses() {
    let subject = Request::default().subject().unwrap();
    let t = Trace::new(&subject).unwrap();
    let check = t.check.unwrap();
    let f = &check.farthest;
    let gradient = &t.values[f.id];
    assert_eq!(gradient.symbol, check.at);
    assert_eq!(gradient.finite[f.place], Some(f.finite));
    assert_eq!(gradient.difference, Some(check.largest));
    let largest = f
        .largest
        .map_or(check.smallest, |i| gradient.numbers[i].abs());
    assert!(gradient.numbers.iter().all(|g| g.abs() <= largest));
    assert!((f.up - t.about.loss).abs() < 1e-3 && f.up != f.down);
}

#[test]
fn packed_numbers_have_five_digits_of_any_size() {
    let all = [
        0.0, 1.0, -1.0, 0.123456, -9.99999e9, 1e-300, -1.7e308, 5e-324,
    ];
    assert_shown("sizes", &page::packed(all).into(), all);
    let none = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    assert_shown("none", &page::packed(none).into(), none);
}

/// Every number of the page is one of the trace, which the JSON is.
#[test]
fn the_page_holds_the_numbers_of_the_trace() {
    for t in [
        trace(|_| {}),
        trace(|r| r.cell = CellKind::Lstm),
        trace(|r| r.hidden = 20),
    ] {
        let page = page::html(&t);
        let (_, data) = page
            .split_once("id=\"data\" type=\"application/json\">")
            .unwrap();
        let data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
        for (k, f) in t.training.iter().enumerate() {
            let shown = &data["training"][k];
            assert_eq!(shown[0].as_f64(), Some(f.loss));
            assert_shown("numbers", &shown[1], f.numbers.concat());
            let norms = if k == 0 { &t.norms } else { &f.norms };
            for (n, shown) in norms.iter().zip(shown[2].as_array().unwrap()) {
                let whole = [n.factor, n.crossed_after.map(|n| n as f64)];
                let whole = whole.map(|x| x.unwrap_or(f64::NAN));
                let steps = n.steps.iter().flat_map(|s| {
                    [
                        s.norm,
                        s.from_loss,
                        s.from_next,
                        s.factor.unwrap_or(f64::NAN),
                    ]
                });
                assert_shown("norms", &shown[0], whole.into_iter().chain(steps));
                let verdicts = n.steps.iter().map(|s| s.verdict);
                let verdicts = [n.verdict].into_iter().chain(verdicts);
                let letters = verdicts.map(|v| match v {
                    Verdict::NoGradient => 'n',
                    Verdict::Vanishing => 'v',
                    Verdict::Healthy => 'h',
                    Verdict::Exploding => 'e',
                });
                assert_eq!(shown[1], letters.collect::<String>());
            }
            let rows = if k == 0 {
                &t.connectivity.rows
            } else {
                &f.connectivity
            };
            assert_shown("connectivity", &shown[3], rows.concat());
            if t.about.readable {
                assert_shown("prediction", &shown[4], f.prediction.iter().copied());
            }
            let outside = f.outside.iter().map(|n| n.map_or(f64::NAN, |n| n as f64));
            let percent = f.percent.iter().map(|p| p.unwrap_or(f64::NAN));
            assert_shown("saturated", &shown[5], outside.chain(percent));
        }
        for (v, row) in t
            .values
            .iter()
            .zip(data["values"]["rows"].as_array().unwrap())
        {
            for (part, shown) in v.parts.iter().zip(row[12].as_array().unwrap()) {
                assert_shown(&v.symbol, shown, part.iter().copied());
            }
            let finite = v.finite.iter().map(|x| x.unwrap_or(f64::NAN));
            assert_shown(&v.symbol, &row[13], finite);
        }
        for (c, shown) in t
            .landscape
            .iter()
            .zip(data["landscape"].as_array().unwrap())
        {
            let flat = |points: &[elman_explain::landscape::Point]| -> Vec<f64> {
                points.iter().flat_map(|p| [p.w, p.loss]).collect()
            };
            assert_shown(&c.name, &shown["points"], flat(&c.points));
            assert_shown(&c.name, &shown["path"], flat(&c.path));
            assert_shown(&c.name, &shown["balls"][1], flat(&c.balls[1]));
        }
        for (h, shown) in t.heat.iter().zip(data["heat"].as_array().unwrap()) {
            if !t.about.readable {
                assert_shown(h.name, &shown["cells"], h.rows.concat());
            }
        }
    }
}

#[test]
fn every_sentence_is_there_in_both_languages_and_used() {
    let words: Value = serde_json::from_str(WORDS).unwrap();
    let page = concat!(
        include_str!("../src/render/page/page.js"),
        include_str!("../src/render/page/mod.rs"),
        include_str!("../src/setup.rs"),
        include_str!("../src/checkpoint.rs"),
        include_str!("../src/trace/document.rs"),
        include_str!("../../elman-cli/src/explain.rs")
    );
    for (key, both) in words.as_object().unwrap() {
        let both = both.as_object().unwrap();
        let keys: Vec<_> = both.keys().map(String::as_str).collect();
        assert_eq!(keys, ["en", "ja"], "{key}");
        let places = |text: &str| {
            let mut all: Vec<_> = text
                .match_indices('{')
                .map(|(i, _)| text[i..i + 3].to_owned())
                .collect();
            all.sort();
            all
        };
        let [en, ja] = ["en", "ja"].map(|l| both[l].as_str().unwrap());
        assert!(!en.is_empty() && !ja.is_empty(), "{key}");
        assert_eq!(places(en), places(ja), "{key}");
        let made = [
            "from_",
            "vanishing",
            "healthy",
            "exploding",
            "bias_",
            "is_",
            "way_",
        ];
        let used = page.contains(&format!("\"{key}\"")) || made.iter().any(|m| key.starts_with(m));
        assert!(used, "{key} is not used");
    }
}

#[test]
fn the_terminal_keeps_to_its_columns_and_shows_what_is_asked() {
    for t in grid() {
        let full = View {
            full: true,
            ..View::default()
        };
        let check = View {
            check: true,
            ..View::default()
        };
        for view in [View::default(), full, check] {
            for line in terminal::render(&t, view).unwrap().lines() {
                let words = line.trim().split(' ').count();
                assert!(line.chars().count() <= 80 || words < 3, "{line}");
                assert!(!line.contains('\u{1b}'));
            }
        }
    }
    let t = trace(|_| {});
    let text = terminal::render(
        &t,
        View {
            check: true,
            ..View::default()
        },
    )
    .unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("largest relative difference: "), "{last}");
    let one = terminal::render(
        &t,
        View {
            step: Some(2),
            ..View::default()
        },
    )
    .unwrap();
    assert!(one.contains("h^2 = tanh(a^2)") && !one.contains("h^1 = tanh(a^1)"));
}

/// A map shows the sign of a number, with colours and without, and says what its
/// shades are.
#[test]
fn maps_of_the_terminal_show_signs() {
    let t = trace(|r| (r.cell, r.hidden) = (CellKind::Lstm, 24));
    let h = t.heat.iter().find(|h| h.name == "h").unwrap();
    let [_, high] = h.span;
    for (row, levels) in h.rows.iter().zip(&h.levels) {
        for (x, level) in row.iter().zip(levels) {
            let quarter = (4.0 * x.abs() / high).ceil();
            assert_eq!(f64::from(*level), x.signum() * quarter, "{x}");
        }
    }
    let shown = |colour| {
        let view = View {
            colour,
            ..View::default()
        };
        terminal::render(&t, view).unwrap()
    };
    let (bare, colours) = (shown(false), shown(true));
    let map = bare.split_once("\n  h of layer 0").unwrap().1;
    for (unit, line) in map.lines().skip(1).take(12).enumerate() {
        let shades = line[4..]
            .chars()
            .map(|c| (" ░▒▓█".chars().position(|s| s == c), c));
        for (step, (above, c)) in shades.enumerate() {
            let level = h.levels[step][unit];
            assert_eq!(above.is_some(), level >= 0, "{level} {c}");
        }
    }
    assert!(map.contains("Positive ░▒▓█, negative .:=#, zero blank"));
    let plain = colours.replace("\u{1b}[31m", "").replace("\u{1b}[34m", "");
    assert!(colours.contains("\u{1b}[34m") && plain.contains("Positive ░▒▓█"));
    assert!(bare.contains("░▒▓█ are quarters of the largest, "));
}

/// Every number in a trace, in the ways that the terminal writes numbers; those
/// inside of texts as they are.
fn written(json: &Value, all: &mut BTreeSet<String>) {
    match json {
        Value::Number(n) => {
            let x = n.as_f64().unwrap();
            let ways = [
                short(x),
                format!("{x}"),
                format!("{x:e}"),
                format!("{x:.1e}"),
            ];
            all.extend(ways.map(|text| text.replace('−', "-")));
        }
        Value::String(text) => all.extend(numbers(text)),
        Value::Array(items) => items.iter().for_each(|item| written(item, all)),
        Value::Object(fields) => fields.iter().for_each(|(_, item)| written(item, all)),
        Value::Bool(_) | Value::Null => {}
    }
}

/// The numbers of a text.
fn numbers(text: &str) -> Vec<String> {
    let text = text.replace('−', "-");
    let inside = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let words = text.split(|c| !inside(c)).map(|w| w.trim_end_matches('.'));
    let number = |w: &&str| w.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let words = words.filter(number).filter(|w| w.parse::<f64>().is_ok());
    words.map(str::to_owned).collect()
}

/// The terminal shows no number that the JSON does not have.
#[test]
fn every_number_of_the_terminal_is_in_the_json() {
    let full = View {
        full: true,
        ..View::default()
    };
    let check = View {
        check: true,
        ..View::default()
    };
    let mut compared = 0;
    let mut traces = grid();
    traces.push(trace(|r| r.hidden = 24));
    for t in traces {
        let mut known = BTreeSet::new();
        written(&serde_json::to_value(&t).unwrap(), &mut known);
        let views = match t.about.readable {
            true => vec![full, check],
            false => vec![View::default()],
        };
        for view in views {
            for line in terminal::render(&t, view).unwrap().lines() {
                for number in numbers(line) {
                    assert!(known.contains(&number), "{number} in {line}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 10_000, "{compared}");
}

#[test]
fn verdicts_follow_their_thresholds() {
    let with = |w: &str| {
        trace(|r| {
            (r.nonlinearity, r.last_state, r.hidden) = (RnnActivation::Linear, true, 1);
            r.input = Some("10 20 30 40 50 60".into());
            r.target = Some("70".into());
            r.set = vec![format!("weight_hh_l0[0,0]={w}")];
        })
    };
    for (w, verdict, factor) in [
        ("0.1", Verdict::Vanishing, 0.1),
        ("0.9", Verdict::Healthy, 0.9),
        ("8", Verdict::Exploding, 8.0),
    ] {
        let norms = &with(w).norms[0];
        assert_eq!(norms.verdict, verdict, "{w}");
        assert!((norms.factor.unwrap() - factor).abs() < 1e-12, "{w}");
    }
    // Where the loss enters at every step, what it adds does not hide that nothing
    // of the last step's is left at the first.
    let everywhere = trace(|r| {
        (r.nonlinearity, r.hidden) = (RnnActivation::Linear, 1);
        r.configuration = Configuration::ManyToMany;
        r.input = Some("10 20 30 40 50 60".into());
        r.target = Some("90 80 70 60 50 40".into());
        r.set = vec!["W_h=0.1".into()];
    });
    let steps = &everywhere.norms[0].steps;
    assert!(steps.iter().all(|s| s.norm > 1e-3 * steps[5].norm));
    for (t, s) in steps.iter().enumerate() {
        assert!(
            (s.ratio / 0.1_f64.powi(5 - t as i32) - 1.0).abs() < 1e-12,
            "{s:?}"
        );
    }
    assert_eq!(steps[1].verdict, Verdict::Vanishing);
    assert_eq!(steps[3].verdict, Verdict::Healthy);
}

/// An LSTM that reads `steps` zeros, whose loss is of the last state alone, with
/// parameters set.
fn lstm(steps: usize, set: &[&str]) -> Request {
    Request {
        cell: CellKind::Lstm,
        last_state: true,
        input: Some(vec!["0"; steps].join(" ")),
        target: Some("70".into()),
        set: set.iter().map(|&s| s.to_owned()).collect(),
        ..Request::default()
    }
}

/// Both states of an LSTM are judged together: their norm at a step over that at
/// the last one is what the Jacobians of the steps between make of the gradient
/// there, as the engine has it.
#[test]
fn an_lstms_two_states_are_judged_by_the_jacobian_of_a_step() {
    // What the forget gate keeps alone is W_h's doing too: each case by its rate.
    let vanishing = ["B_f[1]=-9", "B_f[2]=-9"];
    let stable = [
        "B_f[1]=9",
        "B_f[2]=9",
        "W_hg[1,1]=0",
        "W_hg[1,2]=0",
        "W_hg[2,1]=0",
        "W_hg[2,2]=0",
    ];
    let exploding = [
        "W_hg[1,1]=40",
        "W_hg[2,2]=40",
        "B_i[1]=0",
        "B_i[2]=0",
        "B_f[1]=0",
        "B_f[2]=0",
        "B_g[1]=0",
        "B_g[2]=0",
        "B_o[1]=0",
        "B_o[2]=0",
    ];
    for (set, verdict, along) in [
        (&vanishing[..], Verdict::Vanishing, Verdict::Vanishing),
        (&stable[..], Verdict::Healthy, Verdict::Healthy),
        // Along c alone at most what the forget gate keeps comes back.
        (&exploding[..], Verdict::Exploding, Verdict::Vanishing),
    ] {
        let subject = lstm(12, set).subject().unwrap();
        let traced = step(&subject).unwrap();
        let norms = norms(&traced);
        let [both, cell] = norms.as_slice() else {
            panic!("{norms:?}")
        };
        assert_eq!((both.state, cell.state), (Judged::Both, Judged::Cell));
        assert_eq!((both.verdict, cell.verdict), (verdict, along), "{set:?}");
        let last = both.steps.last().unwrap();
        for s in &both.steps[..11] {
            let (d_h, d_c) = back_to(&subject, &traced, s.step);
            let squares = d_h.iter().chain(&d_c).map(|x| x * x);
            let exact = squares.sum::<f64>().sqrt();
            assert!((s.norm / exact - 1.0).abs() < 1e-9, "{set:?} {s:?} {exact}");
            assert!((s.ratio / (exact / last.norm) - 1.0).abs() < 1e-9, "{s:?}");
        }
    }
    // Where loss enters at every step, a factor is still the Jacobian's: a step of
    // the whole gradient of the two states.
    let everywhere =
        trace(|r| (r.cell, r.configuration) = (CellKind::Lstm, Configuration::ManyToMany));
    let both = &everywhere.norms[0];
    let product = |at: usize| {
        both.steps[at..]
            .iter()
            .filter_map(|s| s.factor)
            .product::<f64>()
    };
    for (at, s) in both.steps.iter().enumerate() {
        assert!((s.ratio / product(at) - 1.0).abs() < 1e-12, "{s:?}");
    }
    assert!(both.crossed_after.is_some());
    let shown = terminal::render(&everywhere, View::default()).unwrap();
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "dL/d(h, c): healthy",
        "d(h, c) is what a step hands on",
        "what enters from the loss at a step is less than",
        "what enters dL/dc at a step through h is less than",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

/// What the engine's way back makes, at the states after step `t`, of the gradient
/// that the loss sends into `h` at the last step: of `h` and of `c`.
fn back_to(subject: &Subject, traced: &Step, t: usize) -> (Vec<f64>, Vec<f64>) {
    let numbers = |symbol: String| {
        let value = traced
            .forward
            .graph
            .nodes
            .iter()
            .find(|n| n.symbol == symbol);
        value.unwrap_or_else(|| panic!("{symbol}")).numbers.clone()
    };
    let entries = subject.params.layout().entries().iter();
    let own = entries.filter_map(|e| {
        let name = e.name.strip_prefix("rnn.")?;
        Some((name.to_owned(), subject.params.get(&e.name)?))
    });
    let model = write_tensors(own, None).unwrap();
    let steps = subject.input.nrows();
    let state =
        |numbers: Vec<f64>| ArrayD::from_shape_vec(vec![1, 1, numbers.len()], numbers).unwrap();
    let rest: Vec<f64> = subject.input.iter().skip(t).copied().collect();
    let rest = ArrayD::from_shape_vec(vec![steps - t, 1, 1], rest).unwrap();
    let arrays = [
        ("input", rest),
        ("h_0", state(numbers(format!("h^{t}")))),
        ("c_0", state(numbers(format!("c^{t}")))),
        ("d_h_n", state(numbers(format!("dL/dh^{steps}")))),
    ];
    let views = arrays.iter().map(|(name, a)| (name.to_string(), a.view()));
    let arrays = write_tensors(views, None).unwrap();
    let ran = elman::run::run(&model, &arrays, &Default::default()).unwrap();
    let ran = TensorFile::read(&ran.bytes).unwrap();
    let get = |name: &str| {
        ran.get::<f64>(name)
            .unwrap()
            .unwrap()
            .iter()
            .copied()
            .collect()
    };
    (get("d_h_0"), get("d_c_0"))
}

/// The gradient of a lower layer comes through the layer above, not from the loss.
#[test]
fn a_lower_layers_gradient_enters_from_the_layer_above() {
    for (cell, states) in [(CellKind::Rnn, 1), (CellKind::Gru, 1), (CellKind::Lstm, 2)] {
        let t = trace(|r| (r.cell, r.layers, r.hidden) = (cell, 2, 1));
        assert_eq!(t.norms.len(), 2 * states);
        for n in &t.norms {
            let enters = match (n.state, n.layer) {
                (Judged::Cell, _) => Origin::Inside,
                (_, 0) => Origin::Above,
                _ => Origin::Loss,
            };
            assert_eq!(n.enters, enters, "{cell} {n:?}");
        }
        let shown = terminal::render(&t, View::default()).unwrap();
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        let table = |from: &str, to: &str| {
            let (_, rest) = shown.split_once(from).unwrap_or_else(|| panic!("{from}"));
            rest.split_once(to).map_or(rest, |(own, _)| own).to_owned()
        };
        let state = if states == 2 { "(h, c)" } else { "h" };
        let below = table(&format!("dL/d{state} of layer 0"), "of layer 1");
        let top = table(&format!("dL/d{state} of layer 1"), "Gradient descent");
        let (loss, above) = ("enters from the loss", "enters from the layer above");
        assert!(below.contains(above) && !below.contains(loss), "{below}");
        assert!(top.contains(loss) && !top.contains(above), "{top}");
        // The page says it by the same word.
        let page = page::html(&t);
        let entry = format!("[0,false,\"{state}\",0,3,");
        let (_, rest) = page.split_once(&entry).unwrap();
        assert_eq!(rest.split('"').nth(1), Some("above"), "{cell}");
    }
}

/// A gradient that is not there has not vanished on the way; one that has faded
/// until it is zero has.
#[test]
fn no_gradient_is_not_a_vanishing_one() {
    let head = trace(|r| {
        r.last_state = true;
        r.set = vec!["W_y[1,1]=0".into(), "W_y[2,1]=0".into()];
    });
    let norms = &head.norms[0];
    assert_eq!(norms.verdict, Verdict::NoGradient);
    let mut verdicts = norms.steps.iter().map(|s| s.verdict);
    assert!(verdicts.all(|v| v == Verdict::NoGradient));
    let shown = terminal::render(&head, View::default()).unwrap();
    assert!(shown.contains("dL/dh: no gradient\n"), "{shown}");
    assert!(!shown.contains("   vanishing"), "{shown}");
    let json = serde_json::to_value(&head.norms).unwrap();
    assert_eq!(json[0]["verdict"], "no_gradient");
    let faded = trace(|r| {
        (r.nonlinearity, r.last_state, r.hidden) = (RnnActivation::Linear, true, 1);
        r.input = Some(vec!["1"; 40].join(" "));
        r.target = Some("70".into());
        r.set = vec!["W_h=1e-20".into()];
    });
    let norms = &faded.norms[0];
    assert_eq!(norms.steps[0].norm, 0.0);
    assert_eq!(norms.steps[0].verdict, Verdict::Vanishing);
    assert_eq!(norms.verdict, Verdict::Vanishing);
}

/// The example of the library begins with the numbers that are explained.
#[test]
fn the_worked_example_is_the_librarys() {
    let (t, outcome) = (trace(|_| {}), worked_example::run().unwrap());
    let number = |label: &str| {
        let mut found = t
            .values
            .iter()
            .flat_map(|v| v.labels.iter().zip(&v.numbers));
        *found.find(|(l, _)| *l == label).unwrap().1
    };
    for (step, state) in outcome.states.iter().enumerate() {
        for (unit, x) in state.iter().enumerate() {
            let label = format!("h^{}[{}]", step + 1, unit + 1);
            assert!((number(&label) - x).abs() < 1e-15, "{label}");
        }
    }
    let (prediction, loss) = outcome.first;
    assert!((number("ŷ") - prediction).abs() < 1e-15);
    assert!((number("L") - loss).abs() < 1e-15);
}

#[test]
fn the_worked_examples_update_lowers_the_loss() {
    let t = trace(|_| {});
    assert!(t.about.loss_after.unwrap() < t.about.loss);
    let curve = t
        .landscape
        .iter()
        .find(|c| c.name == "head.bias[0]")
        .unwrap();
    let lowest = curve.turns.iter().find(|t| t.minimum && t.global).unwrap();
    let [left, right] = &curve.balls;
    assert!(left[0].slope < 0.0 && left[1].w > left[0].w);
    assert!(right[0].slope > 0.0 && right[1].w < right[0].w);
    for ball in [left, right] {
        assert!((ball.last().unwrap().w - lowest.w).abs() < 0.1);
    }
}

/// In a file each line is a step and each column a feature, with or without names.
#[test]
fn a_file_has_a_line_for_each_step() {
    let read = |text: &str| parse_table("x.csv", text).map(|t| (t.numbers.dim(), t.features));
    let names = |all: &[&str]| all.iter().map(|n| n.to_string()).collect::<Vec<_>>();
    for (text, dim, features) in [
        ("1,2\n3,4\n5,6\n", (3, 2), &[][..]),
        (
            "\u{feff}\"a b\", c\r\n1, 2\r\n\r\n3, 4\r\n",
            (2, 2),
            &["a b", "c"],
        ),
        ("a;b;c\n1;2;3\n", (1, 3), &["a", "b", "c"]),
        ("a\tb\n1\t2\n", (1, 2), &["a", "b"]),
        ("1 2\n3 4\n", (2, 2), &[]),
        ("y\n1\n2\n3\n", (3, 1), &["y"]),
        ("10 20 30\n", (3, 1), &[]),
        ("1 2, 3 4\n5 6", (3, 2), &[]),
        ("1 2; 3 4", (2, 2), &[]),
    ] {
        assert_eq!(read(text).unwrap(), (dim, names(features)), "{text:?}");
    }
    for (text, parts) in [
        ("", &["x.csv: the file is empty"][..]),
        (
            "a,b\n",
            &["`a`, `b`", "no line of numbers follows", "0.1,0.2"],
        ),
        (
            "a,b\n1,2\n3\n",
            &[
                "line 3: expected 2 numbers",
                "got 1",
                "name every column once",
            ],
        ),
        ("a,b\n1,2,3\n", &["line 2: expected 2 numbers", "got 3"]),
        (
            "1,2\n3\n",
            &["line 2: expected 2 numbers", "got 1", "as many"],
        ),
        (
            "t,y\n2020-01,2\n",
            &["line 2, column `t`", "got `2020-01`", "leave out"],
        ),
        (
            "a;b\n1,5;2\n",
            &["line 2, column `a`", "got `1,5`", "with a point"],
        ),
        (
            "1,2\n3,\n",
            &["line 2, column 2: expected a number, got ``"],
        ),
        ("10 ten", &["got `ten`"]),
        ("10,ten\n1,2\n", &["line 1, column 2", "got `ten`"]),
    ] {
        let e = read(text).unwrap_err().to_string();
        for part in parts {
            assert!(e.contains(part), "{text:?}: {e}");
        }
    }
}

#[test]
fn wrong_words_are_refused_with_the_mend() {
    let refused = |change: &dyn Fn(&mut Request), part: &str| {
        let mut request = Request::default();
        change(&mut request);
        let e = request.subject().unwrap_err().to_string();
        assert!(e.contains(part), "{part:?} in {e}");
    };
    refused(&|r| r.input = Some("1 2".into()), "--target is missing");
    refused(
        &|r| (r.input, r.target) = (Some("1 x".into()), Some("1".into())),
        "`x`",
    );
    refused(
        &|r| (r.input, r.target) = (Some("1 2, 3".into()), Some("1".into())),
        "step 2: expected 2 features",
    );
    refused(
        &|r| r.target = Some("40 50".into()),
        "--target: expected 1 number (1 predicted step of 1 feature), got 2",
    );
    refused(
        &|r| r.set = vec!["weight[0,0]=1".into()],
        "rnn.weight_ih_l0, rnn.weight_hh_l0",
    );
    refused(
        &|r| r.set = vec!["weight_hh_l0[2,0]=1".into()],
        "inside the shape [2, 2]",
    );
    refused(&|r| r.set = vec!["weight_hh_l0".into()], "NAME[i,j]=VALUE");
    refused(&|r| r.hidden = 0, "--hidden");
    refused(&|r| r.lr = f64::NAN, "--lr");
    refused(&|r| r.scale = Some(0.0), "--scale");
    refused(
        &|r| (r.cell, r.nonlinearity) = (CellKind::Gru, RnnActivation::Relu),
        "--nonlinearity",
    );
    assert_eq!(parse_input("x", "1 2 3").unwrap().dim(), (3, 1));
    assert_eq!(parse_input("x", "1 2, 3 4\n5 6").unwrap().dim(), (3, 2));
    assert_eq!(parse_input("x", "1,2; 3, 4;").unwrap().dim(), (2, 2));
    assert_eq!(parse_input("x", "1 2;").unwrap().dim(), (1, 2));
    assert_eq!(parse_input("x", "1;2;3").unwrap().dim(), (3, 1));
    // By PyTorch's names from 0, by the formulas' symbols from 1, transposed.
    let mut subject = Request::default().subject().unwrap();
    assign(&mut subject, "rnn.weight_hh_l0[1,0] = 7").unwrap();
    assign(&mut subject, "W_h[2,1]=8").unwrap();
    assign(&mut subject, "W_x[1,2]=9").unwrap();
    assign(&mut subject, "b_y=10").unwrap();
    assign(&mut subject, "W_y[6,1]=11").unwrap();
    assign(&mut subject, "B[2]=12").unwrap();
    let number = |name: &str| subject.params.get(name).unwrap();
    assert_eq!(number("rnn.weight_hh_l0")[[1, 0]], 7.0);
    assert_eq!(number("rnn.weight_hh_l0")[[0, 1]], 8.0);
    assert_eq!(number("rnn.weight_ih_l0")[[1, 0]], 9.0);
    assert_eq!(number("head.bias")[[0]], 10.0);
    assert_eq!(number("rnn.bias_ih_l0")[[1]], 12.0);
    assert_eq!(number("head.weight")[[0, 5]], 11.0);
    refused(
        &|r| r.set = vec!["W_h[0,1]=1".into()],
        "counted from 1 inside the shape [2, 2]",
    );
    for (set, part) in [
        (
            "W_h[1]=1",
            "--set W_h[1]: expected row and column counted from 1",
        ),
        ("W_x[1]=1", "inside the shape [1, 2], up to W_x[1,2]"),
        ("W_x=0.5", "--set W_x: expected row and column"),
        (
            "B[3]=1",
            "--set B[3]: expected one index counted from 1 inside the shape [2], up to B[2]",
        ),
        ("W_h[1,]=1", "NAME[i,j]=VALUE"),
        (
            "weight_ih_l0=1",
            "--set weight_ih_l0: expected row and column counted from 0",
        ),
        (
            "W_x[1,1]=1e400",
            "--set W_x[1,1]: expected a finite number, got 1e400",
        ),
    ] {
        refused(&|r| r.set = vec![set.into()], part);
    }
    refused(
        &|r| r.input = Some(String::new()),
        "--input: expected numbers, like \"10 20 30\", got nothing",
    );
    refused(
        &|r| r.set = vec!["W_q[1]=1".into()],
        "W_x, B, W_h, W_y, b_y, counted from 1",
    );
    let gru = Request {
        cell: CellKind::Gru,
        set: vec!["W_hz[2,1]=5".into()],
        ..Request::default()
    };
    let params = gru.subject().unwrap().params;
    assert_eq!(params.get("rnn.weight_hh_l0").unwrap()[[2, 1]], 5.0);

    let large = trace(|r| r.hidden = 24);
    let full = View {
        full: true,
        ..View::default()
    };
    let e = terminal::render(&large, full).unwrap_err().to_string();
    assert!(e.contains("heat maps") && e.contains("1500"), "{e}");
    let text = terminal::render(&large, View::default()).unwrap();
    assert!(
        text.contains("% saturated") && text.contains("listens to"),
        "{text}"
    );
}
