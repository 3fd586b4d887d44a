//! Padding and packing against PyTorch: equal, bit for bit.

use crate::common::problem::{Form, Problem, shapes};
use crate::common::{Case, Fixtures};
use elman::cell::CellKind;
use elman::layer::{
    PackedSequence, PaddingSide, Recurrent, RecurrentConfig, StackCache, pack_padded_sequence,
    pack_sequence, pad_packed_sequence, pad_sequence, unpack_sequence, unpad_sequence,
};
use elman::ndarray::{Array2, Array3, ArrayView2, Axis, Ix2, s};
use elman::{Error, Result};
use proptest::prelude::*;

#[test]
fn as_pytorch() {
    let fixtures = Fixtures::open("packing.safetensors");
    let mut seen = 0;
    for case in fixtures.cases() {
        check(&case);
        seen += 1;
    }
    assert_eq!(seen, 6 * 2 * 2);
}

fn check(case: &Case<'_>) {
    let options = case.options;
    let yes = |name: &str| options[name].as_bool().unwrap();
    let (batch_first, enforce_sorted) = (yes("batch_first"), yes("enforce_sorted"));
    let value = options["padding_value"].as_f64().unwrap();
    let total = options["total_length"].as_u64().map(|n| n as usize);
    let side = match options["padding_side"].as_str().unwrap() {
        "left" => PaddingSide::Left,
        _ => PaddingSide::Right,
    };
    let numbers = |name: &str| -> Vec<usize> {
        let view = case.view(name);
        let numbers = view.data().chunks_exact(8);
        numbers
            .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as usize)
            .collect()
    };
    let count = case.names("sequence.").len();
    let sequences: Vec<Array2<f64>> = (0..count)
        .map(|i| case.need(&format!("sequence.{i}")))
        .map(|s| s.into_dimensionality::<Ix2>().unwrap())
        .collect();
    let views: Vec<ArrayView2<'_, f64>> = sequences.iter().map(|s| s.view()).collect();

    let padded = pad_sequence(&views, batch_first, value, side).unwrap();
    assert_eq!(
        padded.into_dyn(),
        case.need::<f64>("padded"),
        "{}",
        case.name
    );

    let lengths: Vec<_> = sequences.iter().map(|s| s.nrows()).collect();
    let padded = pad_sequence(&views, batch_first, f64::NAN, PaddingSide::Right).unwrap();
    let packed =
        pack_padded_sequence(padded.view(), &lengths, batch_first, enforce_sorted).unwrap();
    assert_eq!(packed, pack_sequence(&views, enforce_sorted).unwrap());
    assert_eq!(packed.data().view().into_dyn(), case.need::<f64>("data"));
    assert_eq!(packed.batch_sizes(), numbers("batch_sizes"));
    assert_eq!(packed.sorted_indices().is_none(), enforce_sorted);
    if let (Some(sorted), Some(unsorted)) = (packed.sorted_indices(), packed.unsorted_indices()) {
        assert_eq!(sorted, numbers("sorted_indices"));
        assert_eq!(unsorted, numbers("unsorted_indices"));
    }

    let (back, back_lengths) = pad_packed_sequence(&packed, batch_first, value, total).unwrap();
    assert_eq!(back.into_dyn(), case.need::<f64>("back"), "{}", case.name);
    assert_eq!(back_lengths, numbers("back_lengths"));
    let unpadded = unpad_sequence(padded.view(), &lengths, batch_first);
    assert_eq!(unpadded.unwrap(), sequences);
    assert_eq!(unpack_sequence(&packed).unwrap(), sequences);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// A packed run is the run with `lengths`.
    #[test]
    fn packed_in_packed_out(shape in shapes(), lengths in prop::collection::vec(1..=4_usize, 6)) {
        let mut shape = shape;
        shape.seq_len = 4;
        shape.batch = shape.batch.max(1);
        shape.training = false;
        shape.resets = None; // of another number of steps
        let lengths = &lengths[..shape.batch];
        shape.lengths = Some(lengths.to_vec());
        let problem = Problem::<f64, _>::new(&shape, |cell| cell);
        let (y, state) = problem.forward(Form::Sequence, &mut StackCache::default());

        let layer = Recurrent::with_params(&shape.config, problem.params.clone()).unwrap();
        let packed = pack_padded_sequence(problem.x.view(), lengths, false, false).unwrap();
        let (output, last) = layer.forward_packed(&packed, Some(problem.state.clone())).unwrap();
        prop_assert_eq!(output.batch_sizes(), packed.batch_sizes());
        prop_assert_eq!(output.sorted_indices(), packed.sorted_indices());
        let (output, _) = pad_packed_sequence(&output, false, 0.0, Some(4)).unwrap();
        prop_assert_eq!(output, y);
        prop_assert_eq!(last, state);
    }
}

#[test]
fn what_is_wrong_is_named() {
    let check = |error: Error, words: &str| {
        assert!(
            error.is_shape() && error.to_string().contains(words),
            "{error}"
        );
    };
    let x = Array3::<f64>::zeros((3, 2, 1));
    let pack = |lengths: &[usize], enforce_sorted| -> Result<PackedSequence<f64>> {
        pack_padded_sequence(x.view(), lengths, false, enforce_sorted)
    };
    let zero = "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0: that of row 1";
    check(pack(&[3, 0], true).unwrap_err(), zero);
    check(pack(&[3, 0], false).unwrap_err(), zero);
    check(
        pack(&[2, 3], true).unwrap_err(),
        "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True",
    );
    check(
        pack(&[3, 2, 1], true).unwrap_err(),
        "expected 2 entries, one a row of the batch, got 3",
    );
    check(
        pack(&[1, 4], false).unwrap_err(),
        "row 1 has 4 steps, the input has 3",
    );
    for empty in [(0, 2, 1), (3, 0, 1), (3, 2, 0)] {
        let x = Array3::<f64>::zeros(empty);
        let lengths = vec![0; empty.1];
        let error = pack_padded_sequence(x.view(), &lengths, false, false).unwrap_err();
        check(error, "Cannot pack empty tensors.");
    }
    let packed = pack(&[3, 2], true).unwrap();
    check(
        pad_packed_sequence(&packed, false, 0.0, Some(2)).unwrap_err(),
        "Expected total_length to be at least the length of the longest sequence in input, but got total_length=2 and max sequence length being 3",
    );
    for total in [usize::MAX, usize::MAX / 16] {
        check(
            pad_packed_sequence(&packed, true, 0.0, Some(total)).unwrap_err(),
            "more than memory can hold",
        );
    }
    let none: [ArrayView2<'_, f64>; 0] = [];
    let list = "received an empty list of sequences";
    check(pack_sequence(&none, true).unwrap_err(), list);
    check(
        pad_sequence(&none, true, 0.0, PaddingSide::Left).unwrap_err(),
        list,
    );
    let (a, b) = (Array2::<f64>::zeros((2, 3)), Array2::zeros((2, 1)));
    check(
        pack_sequence(&[a.view(), b.view()], false).unwrap_err(),
        "sequence 1: expected 3 features as sequence 0 has, got 1",
    );
    check(
        unpad_sequence(x.view(), &[3, 4], false).unwrap_err(),
        "row 1 has 4 steps, the input has 3",
    );
    // No steps at all are legal where nothing is packed.
    let parts = unpad_sequence(x.view(), &[0, 2], false).unwrap();
    assert_eq!(parts[0].dim(), (0, 1));
    assert_eq!(parts[1], x.slice(s![..2, 1, ..]));

    let gru = Recurrent::new(&RecurrentConfig::new(CellKind::Gru, 2, 3), 0).unwrap();
    check(
        gru.forward_packed(&packed, None).unwrap_err(),
        "input.size(-1) must be equal to input_size. Expected 2, got 1",
    );
    let gru = Recurrent::new(&RecurrentConfig::new(CellKind::Gru, 1, 3), 0).unwrap();
    let state = gru.stack().start(3);
    check(
        gru.forward_packed(&packed, Some(state)).unwrap_err(),
        "Expected hidden size (1, 2, 3), got [1, 3, 3]",
    );
    assert_eq!(packed.data().len_of(Axis(0)), 5);
}
