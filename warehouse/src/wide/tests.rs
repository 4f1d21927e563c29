use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray, StringViewArray};
use arrow::datatypes::Int64Type;

use super::*;

fn room(memory: usize) -> Room {
    Room {
        memory,
        rows: 8192,
        usual: 8192,
        attempt: Attempt::with(Batches::USUAL),
    }
}

fn lists(lengths: &[usize]) -> ArrayRef {
    let lists = lengths
        .iter()
        .map(|length| Some(vec![Some(7_i64); *length]));
    Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))
}

#[test]
fn a_row_is_as_large_as_its_copy() {
    let long = "x".repeat(100);
    let columns: [ArrayRef; 4] = [
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(StringArray::from(vec!["four", long.as_str()])),
        Arc::new(StringViewArray::from(vec!["four", long.as_str()])),
        lists(&[0, 3]),
    ];
    let each = bytes_of_rows(&columns);
    // The offsets of a list of one count with it.
    assert_eq!(each, [8 + 4 + 16 + 8, 8 + 100 + 16 + 24 + 8]);
    let sliced = columns.map(|column| column.slice(1, 1));
    assert_eq!(bytes_of_rows(&sliced), each[1..]);
    let none: [ArrayRef; 0] = [];
    assert!(bytes_of_rows(&none).is_empty());
}

#[test]
fn lists_are_taken_apart_in_parts_that_fit() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1; 6]));
    let batch = [("n", numbers), ("l", lists(&[100, 100, 0, 300, 1, 2]))];
    let batch = RecordBatch::try_from_iter(batch).expect("a batch");
    let rows = |memory: usize| -> Vec<usize> {
        let parts = slices(&batch, &[(1, 1)], &room(memory)).expect("parts");
        parts.iter().map(RecordBatch::num_rows).collect()
    };
    // A row of a hundred items makes 1,600 bytes, one of three hundred 4,800.
    assert_eq!(rows(16 * 10_000), [6]);
    assert_eq!(rows(16 * 5_000), [3, 3]);
    assert_eq!(rows(16 * 2_000), [1, 2, 1, 2]);
    let refused = slices(&batch, &[(1, 1)], &room(4 * 4_000)).expect_err("too large");
    assert!(
        refused.to_string().contains("a list of 300 items"),
        "{refused}"
    );
}

#[test]
fn what_is_named_often_is_worked_out_in_parts_that_fit() {
    let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["x".repeat(84); 6]));
    let batch = RecordBatch::try_from_iter([("s", texts)]).expect("a batch");
    let named = Named {
        columns: vec![(0, 20)],
        ..Named::default()
    };
    // A hundred bytes each, with what a view takes.
    let rows = |memory: usize| -> Vec<usize> {
        let parts = named.parts(&batch, &room(memory)).expect("parts");
        parts.iter().map(RecordBatch::num_rows).collect()
    };
    assert_eq!(rows(16 * 12_000), [6]);
    assert_eq!(rows(16 * 11_999), [5, 1]);
    assert_eq!(rows(16 * 4_100), [2, 2, 2]);
    assert_eq!(rows(16 * 500), [1, 1, 1, 1, 1, 1]);
    let refused = named
        .parts(&batch, &room(4 * 1_999))
        .expect_err("too large");
    assert!(
        refused.to_string().contains("2000 bytes of one row"),
        "{refused}"
    );
}
