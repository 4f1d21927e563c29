//! Typed rows and the Arrow batches made of them.
//!
//! A table is declared once, as a struct whose fields are its columns
//! (`table/*.rs`). From that one declaration come the Arrow schema, the
//! column comments, and both directions between rows and batches, so that a
//! column's name, type and meaning cannot drift apart.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Date32Builder, Float64Builder,
    Int64Builder, ListBuilder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
    new_null_array,
};
use arrow::datatypes::{
    DataType, Date32Type, Field, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};

use crate::id::RunId;
use crate::table::Table;
use crate::time::{Date, Timestamp};

/// The physical types that columns have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// UTF-8 text.
    Utf8,
    /// Signed 64-bit integer.
    Int64,
    /// 64-bit float.
    Float64,
    /// True or false.
    Boolean,
    /// Microseconds since the Unix epoch, UTC.
    Timestamp,
    /// Days since the Unix epoch.
    Date,
    /// List of signed 64-bit integers, none of them null.
    Int64List,
    /// Bytes.
    Binary,
}

impl ColumnKind {
    /// The Arrow type of the kind.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Utf8 => DataType::Utf8,
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Date => DataType::Date32,
            Self::Int64List => DataType::List(list_item()),
            Self::Binary => DataType::Binary,
        }
    }
}

impl ColumnKind {
    /// Whether an Arrow type is that of the kind, however items of lists are named.
    pub fn is(self, found: &DataType) -> bool {
        match (found, self.data_type()) {
            (DataType::List(found), DataType::List(wanted)) => {
                found.data_type() == wanted.data_type()
            }
            (found, wanted) => *found == wanted,
        }
    }
}

/// The item field of list columns, named and typed as Delta's Arrow mapping
/// and Parquet name it.
fn list_item() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Int64, true))
}

/// One column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// The name, lower case.
    pub name: &'static str,
    /// The type.
    pub kind: ColumnKind,
    /// Whether it may be null.
    pub nullable: bool,
    /// The meaning, with unit and null rule; lines begin with a space.
    pub doc: &'static str,
}

impl Column {
    /// The meaning as one line of text.
    pub fn comment(&self) -> String {
        self.doc.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The Arrow field, with the meaning in its metadata under `comment`.
    pub fn field(&self) -> Field {
        Field::new(self.name, self.kind.data_type(), self.nullable)
            .with_metadata([("comment".to_string(), self.comment())].into())
    }
}

/// A batch that does not hold rows of the table.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// A column is missing.
    #[error("table `{table}`: the batch has no column `{column}`")]
    Missing {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// A column has another type.
    #[error("table `{table}`: column `{column}` is {found}, expected {expected}")]
    Type {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// Its type in the batch.
        found: DataType,
        /// Its type by the contract.
        expected: DataType,
    },
    /// A value is null, or no identifier, where the contract asks for one.
    #[error("table `{table}`: column `{column}`, row {row}: {reason}")]
    Value {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's number in the batch, from 0.
        row: usize,
        /// What is wrong.
        reason: String,
    },
    /// Arrow refused to put the columns together.
    #[error("table `{table}`: columns do not form a batch")]
    Arrow {
        /// The table.
        table: &'static str,
        /// Arrow's reason.
        source: arrow::error::ArrowError,
    },
}

/// One row of a table, as a struct whose fields are the columns.
pub trait TableRow: Sized {
    /// The table that holds such rows.
    const TABLE: Table;
    /// The columns, in order.
    const COLUMNS: &'static [Column];

    /// The rows as one batch of the table's schema.
    ///
    /// # Errors
    /// Only where Arrow's limits are passed (a text column beyond 2 GiB).
    fn to_batch(rows: &[Self]) -> Result<RecordBatch, RowError>;

    /// The rows of a batch; columns are found by name, others are ignored, and one that may be null
    /// and is missing is null.
    ///
    /// # Errors
    /// Says which column, and which row, breaks the table's contract.
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, RowError>;
}

/// A value that a column can hold.
pub trait Cell: Sized {
    /// The column's type.
    const KIND: ColumnKind;
    /// Whether the column may be null.
    const NULLABLE: bool;
    /// Arrow's builder of such a column.
    type Builder;

    /// An empty builder with room for `capacity` values.
    fn builder(capacity: usize) -> Self::Builder;
    /// Appends this value.
    fn append(&self, builder: &mut Self::Builder);
    /// The finished column.
    fn finish(builder: Self::Builder) -> ArrayRef;
    /// The value in `row` of an array of this kind's type, or what is wrong.
    fn read(array: &dyn Array, row: usize) -> Result<Self, String>;
}

/// Implements [`Cell`] for a type and its `Option`.
macro_rules! cell {
    ($type:ty, $kind:ident, $builder:ty,
     new: $new:expr, push: |$b:ident, $v:ident| $push:expr, null: |$nb:ident| $null:expr,
     read: |$array:ident, $row:ident| $read:expr) => {
        impl Cell for $type {
            const KIND: ColumnKind = ColumnKind::$kind;
            const NULLABLE: bool = false;
            type Builder = $builder;

            fn builder(capacity: usize) -> $builder {
                let new: fn(usize) -> $builder = $new;
                new(capacity)
            }
            fn append(&self, $b: &mut $builder) {
                let $v = self;
                $push
            }
            fn finish(mut builder: $builder) -> ArrayRef {
                Arc::new(builder.finish())
            }
            fn read($array: &dyn Array, $row: usize) -> Result<Self, String> {
                if $array.is_null($row) {
                    return Err("is null".to_string());
                }
                $read
            }
        }

        impl Cell for Option<$type> {
            const KIND: ColumnKind = ColumnKind::$kind;
            const NULLABLE: bool = true;
            type Builder = $builder;

            fn builder(capacity: usize) -> $builder {
                <$type>::builder(capacity)
            }
            fn append(&self, $nb: &mut $builder) {
                match self {
                    Some(value) => value.append($nb),
                    None => $null,
                }
            }
            fn finish(builder: $builder) -> ArrayRef {
                <$type>::finish(builder)
            }
            fn read(array: &dyn Array, row: usize) -> Result<Self, String> {
                if array.is_null(row) {
                    Ok(None)
                } else {
                    <$type>::read(array, row).map(Some)
                }
            }
        }
    };
}

cell!(String, Utf8, StringBuilder,
    new: |n| StringBuilder::with_capacity(n, n * 8),
    push: |b, v| b.append_value(v), null: |b| b.append_null(),
    read: |array, row| Ok(array.as_string::<i32>().value(row).to_string()));
cell!(RunId, Utf8, StringBuilder,
    new: |n| StringBuilder::with_capacity(n, n * 36),
    push: |b, v| b.append_value(v.to_string()), null: |b| b.append_null(),
    read: |array, row| array.as_string::<i32>().value(row).parse::<RunId>().map_err(|e| e.to_string()));
cell!(i64, Int64, Int64Builder,
    new: Int64Builder::with_capacity,
    push: |b, v| b.append_value(*v), null: |b| b.append_null(),
    read: |array, row| Ok(array.as_primitive::<Int64Type>().value(row)));
cell!(f64, Float64, Float64Builder,
    new: Float64Builder::with_capacity,
    push: |b, v| b.append_value(*v), null: |b| b.append_null(),
    read: |array, row| Ok(array.as_primitive::<Float64Type>().value(row)));
cell!(bool, Boolean, BooleanBuilder,
    new: BooleanBuilder::with_capacity,
    push: |b, v| b.append_value(*v), null: |b| b.append_null(),
    read: |array, row| Ok(array.as_boolean().value(row)));
cell!(Timestamp, Timestamp, TimestampMicrosecondBuilder,
new: |n| TimestampMicrosecondBuilder::with_capacity(n).with_timezone("UTC"),
push: |b, v| b.append_value(v.micros()), null: |b| b.append_null(),
read: |array, row| {
    Ok(Timestamp::from_micros(array.as_primitive::<TimestampMicrosecondType>().value(row)))
});
cell!(Date, Date, Date32Builder,
    new: Date32Builder::with_capacity,
    push: |b, v| b.append_value(v.days()), null: |b| b.append_null(),
    read: |array, row| Ok(Date::from_days(array.as_primitive::<Date32Type>().value(row))));
cell!(Vec<u8>, Binary, BinaryBuilder,
    new: |n| BinaryBuilder::with_capacity(n, n * 64),
    push: |b, v| b.append_value(v), null: |b| b.append_null(),
    read: |array, row| Ok(array.as_binary::<i32>().value(row).to_vec()));
cell!(Vec<i64>, Int64List, ListBuilder<Int64Builder>,
new: |n| ListBuilder::with_capacity(Int64Builder::new(), n).with_field(list_item()),
push: |b, v| {
    b.values().append_slice(v);
    b.append(true);
},
null: |b| b.append(false),
read: |array, row| {
    let items = array.as_list::<i32>().value(row);
    Ok(items.as_primitive::<Int64Type>().values().to_vec())
});

/// Finds the column of a batch and checks its type; one that may be null is null where it is missing,
/// since rows of an earlier release may lack it.
pub(crate) fn column_of(
    batch: &RecordBatch,
    table: &'static str,
    column: &Column,
) -> Result<ArrayRef, RowError> {
    let (name, kind) = (column.name, column.kind);
    let Some(array) = batch.column_by_name(name) else {
        return match column.nullable {
            true => Ok(new_null_array(&kind.data_type(), batch.num_rows())),
            false => Err(RowError::Missing {
                table,
                column: name,
            }),
        };
    };
    if kind.is(array.data_type()) {
        Ok(Arc::clone(array))
    } else {
        Err(RowError::Type {
            table,
            column: name,
            found: array.data_type().clone(),
            expected: kind.data_type(),
        })
    }
}

/// Declares a table's row: the struct, its columns and [`TableRow`].
macro_rules! table_row {
    ($(#[doc = $table_doc:literal])+ $table:ident => $row:ident {
        $($(#[doc = $doc:literal])+ $field:ident : $type:ty,)+
    }) => {
        $(#[doc = $table_doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $row { $($(#[doc = $doc])+ pub $field: $type,)+ }

        impl $row {
            pub(crate) const DOC: &'static str = concat!($($table_doc, "\n"),+);
        }

        impl $crate::row::TableRow for $row {
            const TABLE: $crate::table::Table = $crate::table::Table::$table;
            const COLUMNS: &'static [$crate::row::Column] = &[$($crate::row::Column {
                name: stringify!($field),
                kind: <$type as $crate::row::Cell>::KIND,
                nullable: <$type as $crate::row::Cell>::NULLABLE,
                doc: concat!($($doc, "\n"),+),
            }),+];

            fn to_batch(
                rows: &[Self],
            ) -> Result<arrow::array::RecordBatch, $crate::row::RowError> {
                use $crate::row::Cell;
                $(let mut $field = <$type as Cell>::builder(rows.len());)+
                for row in rows {
                    $(row.$field.append(&mut $field);)+
                }
                let columns = vec![$(<$type as Cell>::finish($field)),+];
                arrow::array::RecordBatch::try_new(Self::TABLE.arrow_schema(), columns)
                    .map_err(|source| $crate::row::RowError::Arrow {
                        table: Self::TABLE.name(),
                        source,
                    })
            }

            fn from_batch(
                batch: &arrow::array::RecordBatch,
            ) -> Result<Vec<Self>, $crate::row::RowError> {
                use $crate::row::Cell;
                let table = Self::TABLE.name();
                let mut columns = Self::COLUMNS.iter();
                $(let $field = {
                    let column = columns.next().expect("each field is a column");
                    $crate::row::column_of(batch, table, column)?
                };)+
                (0..batch.num_rows()).map(|row| Ok(Self {
                    $($field: <$type as Cell>::read($field.as_ref(), row).map_err(|reason| {
                        $crate::row::RowError::Value {
                            table, column: stringify!($field), row, reason,
                        }
                    })?,)+
                })).collect()
            }
        }
    };
}
pub(crate) use table_row;
