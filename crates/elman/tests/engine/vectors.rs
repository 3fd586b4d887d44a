//! AVX-512 and AVX2 compute the same bits.

use crate::threads::run;
use elman::Float;
use elman::cell::CellKind;
use elman::kernel::Vectors;
use elman::layer::{Pass, Recurrent, RecurrentConfig, StackCache};
use elman::params::Storage;
use std::process::Command;

/// What a process says before its numbers.
const MARK: &str = "numbers: ";

/// The bits of outputs, states and gradients, in one number.
fn digest<F: Float>(of: &mut u64, values: &[F]) {
    for x in values {
        *of = (*of ^ x.f64().to_bits()).wrapping_mul(0x0100_0000_01b3);
    }
}

fn layers<F: Float>(of: &mut u64) {
    for kind in CellKind::ALL {
        // Panels and tiles that are whole, and not; one row and many.
        for (input_size, hidden_size, batch) in [
            (3, 5, 1),
            (17, 64, 1),
            (40, 33, 29),
            (70, 96, 16),
            (40, 300, 29),
        ] {
            let mut config = RecurrentConfig::new(kind, input_size, hidden_size);
            config.stack.bidirectional = batch > 16;
            let mut layer = Recurrent::<F>::new(&config, 1).unwrap();
            let pass = Pass::default();
            let (forward, back) = run(&layer, batch, &pass, &mut StackCache::default());
            digest(of, &forward);
            digest(of, &back);
            let inference = Pass {
                inference: true,
                ..pass
            };
            for storage in [Storage::Bf16, Storage::Int8] {
                layer.params_mut().set_storage(storage);
                let (forward, _) = run(&layer, batch, &inference, &mut StackCache::default());
                digest(of, &forward);
            }
        }
    }
}

/// Also what [`avx512_has_the_bits_of_avx2`] runs in processes of their own.
#[test]
fn say_numbers() {
    let mut of = [0xcbf2_9ce4_8422_2325; 2];
    layers::<f32>(&mut of[0]);
    layers::<f64>(&mut of[1]);
    assert_ne!(of[0], of[1]);
    println!("{MARK}{} {of:x?}", Vectors::here());
}

/// On a processor that has both.
#[test]
fn avx512_has_the_bits_of_avx2() {
    let numbers = |vectors: Vectors| {
        let said = Command::new(std::env::current_exe().unwrap())
            .env("ELMAN_VECTORS", vectors.to_string())
            .args(["--exact", "vectors::say_numbers", "--nocapture"])
            .output()
            .unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let (_, numbers) = said.split_once(MARK).unwrap();
        let (here, numbers) = numbers.split_once(' ').unwrap();
        assert_eq!(here.parse(), Ok(vectors.min(Vectors::widest())));
        numbers.lines().next().unwrap().to_owned()
    };
    if Vectors::widest() < Vectors::Avx512 {
        println!("not compared: no AVX-512 here");
    }
    assert_eq!(numbers(Vectors::Avx512), numbers(Vectors::Avx2));
    numbers(Vectors::Portable);
}
