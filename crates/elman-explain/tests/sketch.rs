//! The drawing: no wire behind a box that is not its own, no label struck
//! through, for every network that is shown number by number.

use elman::cell::CellKind;
use elman_explain::setup::{Configuration, Request};
use elman_explain::sketch::{Sketch, sketch};
use elman_explain::trace::document::READABLE;
use elman_explain::trace::step;

/// A rectangle: from left, top to right, bottom.
type Area = [i64; 4];

fn number(x: usize) -> i64 {
    i64::try_from(x).unwrap()
}

fn meet(a: Area, b: Area) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

/// The area with so much around it.
fn wider([a, b, c, d]: Area, by: i64) -> Area {
    [a - by, b - by, c + by, d + by]
}

/// The pieces of a wire, each from its upper left to its lower right end.
fn pieces(points: &[[usize; 2]]) -> Vec<Area> {
    let piece = |ends: &[[usize; 2]]| {
        let [[a, b], [c, d]] = [ends[0], ends[1]].map(|p| p.map(number));
        assert!(
            (a == c) != (b == d),
            "a piece is upright or level: {ends:?}"
        );
        [a.min(c), b.min(d), a.max(c), b.max(d)]
    };
    points.windows(2).map(piece).collect()
}

/// What is wrong with a drawing.
fn faults(s: &Sketch) -> Vec<String> {
    let mut wrong = Vec::new();
    let boxes: Vec<(usize, &str, Area)> = s
        .nodes
        .iter()
        .map(|n| {
            let [left, top, width, tall] = [n.left, n.top, n.width, s.tall].map(number);
            (
                n.id,
                n.symbol.as_str(),
                [left, top, left + width, top + tall],
            )
        })
        .collect();
    let of = |id: usize| *boxes.iter().find(|(i, ..)| *i == id).unwrap();
    let whole = [0, 0, number(s.width), number(s.height)];
    let inside = |a: Area| a[0] >= 0 && a[1] >= 0 && a[2] <= whole[2] && a[3] <= whole[3];
    for (k, (_, a, at)) in boxes.iter().enumerate() {
        if !inside(*at) {
            wrong.push(format!("{a} is outside"));
        }
        for (_, b, other) in &boxes[..k] {
            if meet(wider(*at, 4), *other) {
                wrong.push(format!("{a} on {b}"));
            }
        }
    }
    let mut labels: Vec<(String, usize, Area)> = Vec::new();
    for w in &s.wires {
        let [from, to] = [of(w.from), of(w.to)];
        let name = format!("{} to {}", from.1, to.1);
        let ends = [w.points[0], w.points[w.points.len() - 1]].map(|p| p.map(number));
        for ([x, y], at) in ends.into_iter().zip([from.2, to.2]) {
            let edge = [x, y, x, y];
            if !meet(wider(edge, 1), at) || meet(wider(edge, 0), wider(at, -1)) {
                wrong.push(format!("{name} does not end at its box"));
            }
        }
        for piece in pieces(&w.points) {
            if !inside(piece) {
                wrong.push(format!("{name} is outside"));
            }
            for (id, other, at) in &boxes {
                let own = [w.from, w.to].contains(id);
                let by = if own { -1 } else { 4 };
                // A line has no area of its own: give it one.
                if meet(wider(piece, 1), wider(*at, by - i64::from(own))) {
                    wrong.push(format!("{name} behind {other}"));
                }
            }
        }
        if let Some([x, y]) = w.at.map(|p| p.map(number)) {
            // Eleven pixels high, seven wide at most.
            let half = number(w.label.chars().count() * 13).div_euclid(4) + 1;
            labels.push((
                format!("{} of {name}", w.label),
                w.from,
                [x - half, y - 6, x + half, y + 6],
            ));
        } else if !s.wires.iter().any(|o| o.from == w.from && o.at.is_some()) {
            wrong.push(format!("{name} has no label"));
        }
    }
    for (k, (label, _, at)) in labels.iter().enumerate() {
        if !inside(*at) {
            wrong.push(format!("{label} is outside"));
        }
        for (_, other, of) in &boxes {
            if meet(*at, *of) {
                wrong.push(format!("{label} on {other}"));
            }
        }
        for (other, _, of) in &labels[..k] {
            if meet(*at, *of) {
                wrong.push(format!("{label} on {other}"));
            }
        }
        for w in &s.wires {
            for piece in pieces(&w.points) {
                if meet(*at, wider(piece, 1)) {
                    wrong.push(format!(
                        "{label} struck through by a wire to {}",
                        of(w.to).1
                    ));
                }
            }
        }
    }
    // Wires of different values cross, and never run along each other.
    let all: Vec<(usize, Area)> = s
        .wires
        .iter()
        .flat_map(|w| pieces(&w.points).into_iter().map(|p| (w.from, p)))
        .collect();
    for (k, (from, a)) in all.iter().enumerate() {
        for (other, b) in &all[..k] {
            let level = |p: &Area| p[1] == p[3];
            if from != other && level(a) == level(b) && meet(wider(*a, 3), wider(*b, 2)) {
                wrong.push(format!(
                    "wires of {} and {} run together",
                    of(*from).1,
                    of(*other).1
                ));
            }
        }
    }
    wrong
}

/// The numbers of a series of so many steps.
fn series(n: usize) -> String {
    let all: Vec<String> = (1..=n).map(|x| x.to_string()).collect();
    all.join(" ")
}

#[test]
fn no_wire_is_behind_a_box_and_no_label_is_struck_through() {
    let (mut drawn, mut longest) = (0, 0);
    for cell in CellKind::ALL {
        for layers in 1..=4 {
            for bidirectional in [false, true] {
                for (configuration, last_state) in [
                    (Configuration::ManyToOne, false),
                    (Configuration::ManyToOne, true),
                    (Configuration::ManyToMany, false),
                    (Configuration::OneToMany, false),
                ] {
                    if bidirectional && configuration == Configuration::OneToMany {
                        continue;
                    }
                    // Up to the last one that is shown number by number.
                    let lengths = (1..=4).chain((6..).step_by(6));
                    for steps in lengths {
                        let (input, target) = match configuration {
                            Configuration::ManyToOne => (series(steps), "1".into()),
                            Configuration::ManyToMany => (series(steps), series(steps)),
                            Configuration::OneToMany => ("1".into(), series(steps)),
                        };
                        let request = Request {
                            cell,
                            layers,
                            bidirectional,
                            configuration,
                            last_state,
                            hidden: if steps == 3 && layers == 1 { 2 } else { 1 },
                            input: Some(input),
                            target: Some(target),
                            ..Request::default()
                        };
                        let step = step(&request.subject().unwrap()).unwrap();
                        let numbers = step.forward.graph.numbers() + step.left_out;
                        if numbers > READABLE {
                            break;
                        }
                        let s = sketch(&step, steps);
                        let wrong = faults(&s);
                        assert!(
                            wrong.is_empty(),
                            "{:#?}\n{request:?}",
                            &wrong[..wrong.len().min(8)]
                        );
                        let directions = s.wires.iter().filter_map(|w| w.reverse);
                        let reverse = directions.filter(|reverse| *reverse).count();
                        assert_eq!(reverse > 0, bidirectional, "{request:?}");
                        drawn += 1;
                        longest = longest.max(steps);
                    }
                }
            }
        }
    }
    println!("{drawn} drawings of up to {longest} steps");
    assert!(drawn > 200 && longest > 20, "{drawn}, {longest}");
}

/// The test finds what it looks for.
#[test]
fn a_wire_behind_a_box_is_found() {
    let step = step(&Request::default().subject().unwrap()).unwrap();
    let mut s = sketch(&step, 3);
    assert!(faults(&s).is_empty());
    // A label on its wire, and a box moved onto another's way.
    let x = s.wires[0].points[0][0];
    s.wires[0].at.as_mut().unwrap()[0] = x;
    let struck = faults(&s);
    assert!(
        struck.iter().any(|f| f.contains("struck through")),
        "{struck:?}"
    );
    let mut s = sketch(&step, 3);
    let moved = s.nodes.iter().position(|n| n.symbol == "h^2").unwrap();
    s.nodes[moved].left -= 150;
    let behind = faults(&s);
    assert!(
        behind.iter().any(|f| f.contains("behind h^2")),
        "{behind:?}"
    );
}
