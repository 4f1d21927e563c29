//! Functions whose results may be as large as their arguments multiplied.
//!
//! One call neither asks the memory limit nor looks at the time limit before it is done, so that how
//! large its result may get is worked out before: of sums, too, since a column may be named in one call
//! a thousand times. What others give is counted when it leaves its operator ([`crate::metered`]).

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{DataType, FieldRef, UInt64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

use crate::metered::bytes_in;

/// How large a result may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Growth {
    /// Each occurrence of the second argument becomes the third.
    Replace,
    /// Each match of the second argument becomes the third, which may name parts of the match.
    ReplaceMatches,
    /// The arguments one after the other.
    Sum,
    /// The same, with the first between each two others.
    SumBetween,
    /// The items of the first argument, with the second between them or the third in their place.
    Join,
}

const GROWING: [(&str, Growth); 6] = [
    ("concat", Growth::Sum),
    ("concat_ws", Growth::SumBetween),
    ("array_concat", Growth::Sum),
    ("replace", Growth::Replace),
    ("regexp_replace", Growth::ReplaceMatches),
    ("array_to_string", Growth::Join),
];

/// Puts a limit on the functions of `registry` that may multiply their arguments: the bytes of all
/// results of one call, which are those of one batch.
///
/// # Errors
/// One of them is not there.
pub(crate) fn limit(registry: &mut dyn FunctionRegistry, bytes: usize) -> Result<()> {
    for (name, growth) in GROWING {
        let inner = registry.udf(name)?.as_ref().clone();
        registry.register_udf(
            ScalarUDF::new_from_impl(Limited {
                inner,
                growth,
                bytes,
            })
            .into(),
        )?;
    }
    Ok(())
}

/// A function with a limit to its results.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Limited {
    inner: ScalarUDF,
    growth: Growth,
    bytes: usize,
}

impl ScalarUDFImpl for Limited {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = match arguments.args.iter().any(is_array) {
            true => arguments.number_rows,
            false => 1,
        };
        let most = self.growth.most(&arguments.args, rows)?;
        if most > self.bytes as u128 {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "what {} gives for one batch of rows may have {most} bytes",
                self.name()
            )));
        }
        self.inner.invoke_with_args(arguments)
    }
}

fn is_array(value: &ColumnarValue) -> bool {
    matches!(value, ColumnarValue::Array(_))
}

impl Growth {
    /// The most bytes that all results together may have.
    fn most(self, arguments: &[ColumnarValue], rows: usize) -> Result<u128> {
        let argument = |at: usize| match arguments.get(at) {
            Some(value) => value.to_array(rows).map(Some),
            None => Ok(None),
        };
        let lengths = |at: usize| match argument(at)? {
            Some(array) => lengths(&array),
            None => Ok(vec![0; rows]),
        };
        if matches!(self, Self::Sum | Self::SumBetween) {
            let each = arguments.iter().map(|value| bytes_for_rows(value, rows));
            let between = match (self, arguments) {
                (Self::SumBetween, [first, others @ ..]) => {
                    bytes_for_rows(first, rows) * others.len() as u128
                }
                _ => 0,
            };
            return Ok(each.sum::<u128>() + between);
        }
        if self == Self::Join {
            let items = argument(0)?.map_or(0, |lists| items(&lists));
            let longest = |at| lengths(at).map(|all| all.into_iter().max().unwrap_or(0));
            let texts = argument(0)?.map_or(0, |lists| lists.get_array_memory_size());
            let each = u128::from(longest(1)?) + u128::from(longest(2)?) + LONGEST_NUMBER;
            return Ok(items as u128 * each + texts as u128);
        }
        let (texts, found, new) = (lengths(0)?, lengths(1)?, lengths(2)?);
        let results = texts.into_iter().zip(found).zip(new);
        let most = results.map(|((text, found), new)| {
            let (text, found, new) = (u128::from(text), u128::from(found), u128::from(new));
            match self {
                // At least a byte is replaced, or something comes before and behind each.
                Self::Replace => text + (text / found.max(1) + 1) * new,
                // Each part that is named is no longer than the match, and matches do not overlap.
                _ => text + (text + 1) * new + text * new,
            }
        });
        Ok(most.sum())
    }
}

/// What a value takes where it stands in so many rows.
fn bytes_for_rows(value: &ColumnarValue, rows: usize) -> u128 {
    match value {
        ColumnarValue::Array(array) => bytes_in(array) as u128,
        ColumnarValue::Scalar(value) => value.size() as u128 * rows as u128,
    }
}

/// A number as text, at the longest.
const LONGEST_NUMBER: u128 = 40;

/// The length of each text in bytes; 0 of what is null.
fn lengths(array: &ArrayRef) -> Result<Vec<u64>> {
    let lengths = match length(array) {
        Ok(lengths) => lengths,
        // What is no text yet becomes one.
        Err(_) => length(&cast(array, &DataType::LargeUtf8)?)?,
    };
    let lengths = cast(&lengths, &DataType::UInt64)?;
    let lengths = lengths.as_primitive::<UInt64Type>();
    Ok(lengths.iter().map(Option::unwrap_or_default).collect())
}

/// How many items lists have, those of lists within them too.
fn items(lists: &ArrayRef) -> usize {
    match lists.data_type() {
        DataType::List(_) => items(lists.as_list::<i32>().values()),
        DataType::LargeList(_) => items(lists.as_list::<i64>().values()),
        DataType::FixedSizeList(..) => items(lists.as_fixed_size_list().values()),
        _ => lists.len(),
    }
}
