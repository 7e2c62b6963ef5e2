//! Header cards: 80-byte records as they came, looked up by keyword.

/// The cards of one header, whole and in order, without END.
///
/// Bytes are kept as they came: what a reader cannot parse still comes out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cards(Vec<u8>);
