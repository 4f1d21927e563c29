use proptest::prelude::*;

use super::*;

/// The value of rank `floor(q * (n - 1))` of sorted values.
fn exact(sorted: &[f64], q: f64) -> f64 {
    sorted[(q * (sorted.len() - 1) as f64) as usize]
}

#[test]
fn a_sketch_of_nothing_has_no_quantile_and_comes_back_from_its_bytes() {
    let sketch = Sketch::new();
    assert_eq!((sketch.count(), sketch.quantile(0.5)), (0, None));
    let stored = sketch.to_bytes();
    let back = Sketch::from_bytes(&stored).expect("our own bytes");
    assert_eq!(
        (back.count(), back.quantile(0.0), back.to_bytes()),
        (0, None, stored)
    );
    let one: Sketch = [7.0].into_iter().collect();
    assert_eq!(one.quantile(0.5), Some(7.0));
    assert_eq!((one.quantile(-0.1), one.quantile(f64::NAN)), (None, None));
}

#[test]
fn what_is_not_finite_is_left_out() {
    let mut sketch = Sketch::new();
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(!sketch.add(value));
    }
    assert_eq!(sketch.count(), 0);
    for value in [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 0.0, -0.0] {
        assert!(sketch.add(value));
    }
    let back = Sketch::from_bytes(&sketch.to_bytes()).expect("our own bytes");
    assert_eq!(back.count(), 5);
    assert_eq!(back.quantile(1.0), Some(f64::MAX));
}

/// What tables hold stays readable: these are the bytes of version 1.
#[test]
fn stored_bytes_stay_as_they_are() {
    let sketch: Sketch = [0.0, 1e6, 1e6, 2e9].into_iter().collect();
    let hex: String = sketch
        .to_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        concat!(
            "504c534b",                           // the letters
            "01",                                 // the version
            "7b14ae47e17a843f",                   // the accuracy
            "a08440",                             // four values
            "880000000000000000",                 // the least
            "8c0000000065cddd41",                 // the greatest
            "840000002006d5dd41",                 // their sum
            "02fd4a815abf52f03f0000000000000000", // the bins' bounds
            "0402",                               // one zero
            "0502e40a03f80502",                   // two bins: 2 and 1
        )
    );
}

#[test]
fn other_bytes_are_refused_with_a_reason() {
    let stored = [1.0, 2.0, 300.0].into_iter().collect::<Sketch>().to_bytes();
    let refused = |bytes: &[u8]| Sketch::from_bytes(bytes).expect_err("no sketch");
    assert_eq!(refused(b""), SketchError::NoSketch);
    assert_eq!(refused(b"PLSQ\x01"), SketchError::NoSketch);
    assert_eq!(refused(b"PLSK"), SketchError::Torn);
    assert_eq!(refused(b"PLSK\x02"), SketchError::Newer { found: 2 });
    let mut other = stored.clone();
    other[5..13].copy_from_slice(&0.02f64.to_le_bytes());
    assert_eq!(refused(&other), SketchError::OtherAccuracy);
    for cut in 5..stored.len() {
        assert_eq!(refused(&stored[..cut]), SketchError::Torn, "{cut}");
    }
    let mut longer = stored;
    longer.push(0);
    assert_eq!(refused(&longer), SketchError::Torn);
}

proptest! {
    /// Latencies over eleven orders of magnitude.
    #[test]
    fn quantiles_are_within_the_accuracy(
        exponents in prop::collection::vec(0.0f64..11.0, 1..400),
        q in 0.0f64..=1.0,
    ) {
        let mut values: Vec<f64> = exponents.iter().map(|e| 10f64.powf(*e)).collect();
        let sketch: Sketch = values.iter().copied().collect();
        values.sort_by(f64::total_cmp);
        let (estimate, exact) = (sketch.quantile(q).expect("values"), exact(&values, q));
        prop_assert!((estimate - exact).abs() <= exact * ACCURACY * 1.000_001, "{estimate} {exact}");
    }

    #[test]
    fn merging_in_any_order_gives_the_same_counts(
        values in prop::collection::vec(-1e12f64..1e12, 0..300),
        cuts in prop::collection::vec(0usize..300, 0..6),
        turn in any::<bool>(),
    ) {
        let whole: Sketch = values.iter().copied().collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(values.len())).collect();
        cuts.extend([0, values.len()]);
        cuts.sort_unstable();
        let mut parts: Vec<Sketch> = cuts
            .windows(2)
            .map(|cut| values[cut[0]..cut[1]].iter().copied().collect())
            .collect();
        if turn {
            parts.reverse();
        }
        let mut merged = Sketch::new();
        for part in &parts {
            let stored = Sketch::from_bytes(&part.to_bytes()).expect("our own bytes");
            merged.merge(&stored);
        }
        prop_assert_eq!(merged.count(), whole.count());
        for q in [0.0, 0.01, 0.5, 0.9, 0.99, 1.0] {
            prop_assert_eq!(merged.quantile(q), whole.quantile(q));
        }
    }

    /// No bytes stop the process, and what is taken is what would be written.
    #[test]
    fn any_bytes_are_taken_or_refused(
        values in prop::collection::vec(-1e15f64..1e15, 0..40),
        changes in prop::collection::vec((13usize..400, any::<u8>()), 0..6),
        tail in prop::collection::vec(any::<u8>(), 0..40),
        cut in 0usize..400,
    ) {
        let mut stored = values.into_iter().collect::<Sketch>().to_bytes();
        stored.truncate(stored.len().max(14).min(cut.max(13)));
        stored.extend(tail);
        for (place, byte) in changes {
            if let Some(at) = stored.get_mut(place) {
                *at = byte;
            }
        }
        if let Ok(sketch) = Sketch::from_bytes(&stored) {
            let mut twice = sketch.clone();
            twice.merge(&sketch);
            prop_assert_eq!(twice.count(), sketch.count() * 2);
            for q in [0.0, 0.5, 1.0] {
                prop_assert_eq!(sketch.quantile(q).is_some(), sketch.count() > 0);
            }
        }
    }
}
