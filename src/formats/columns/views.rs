//! Texts and byte strings in the making, in the layout of Arrow's view arrays.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryViewArray, make_view};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};

use crate::error::Result;

/// The longest value that lives in its view.
const INLINE: usize = 12;
/// A heap buffer is closed when it has grown past this many bytes; view offsets are 32 bits wide.
const HEAP_LIMIT: usize = 1 << 28;

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Text,
    Json,
    Bytes,
}

/// A growing view array. Cutting back leaves the bytes of long values behind; they go with the block.
#[derive(Debug, Default)]
pub(crate) struct Views {
    views: Vec<u128>,
    heap: Vec<u8>,
    full: Vec<Buffer>,
}

impl Views {
    pub(crate) fn len(&self) -> usize {
        self.views.len()
    }

    pub(crate) fn reserve(&mut self, rows: usize) {
        self.views.reserve(rows);
    }

    #[inline]
    pub(crate) fn push_text(&mut self, text: &str) {
        self.push_bytes(text.as_bytes());
    }

    /// Appends `text[start..end]`; `None`, with nothing appended, when those are not its character boundaries.
    #[inline(always)]
    pub(crate) fn push_part(&mut self, text: &str, start: usize, end: usize) -> Option<()> {
        let part = text.get(start..end)?;
        match text.as_bytes()[start..].first_chunk::<16>() {
            // A view that holds its value: the length, then the bytes, then zeros. No branch on the length.
            Some(bytes) if part.len() <= INLINE => {
                let kept = (1u128 << (8 * part.len())) - 1;
                let view = (u128::from_le_bytes(*bytes) & kept) << 32 | part.len() as u128;
                self.views.push(view);
            }
            _ => self.push_bytes(part.as_bytes()),
        }
        Some(())
    }

    #[inline]
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        if bytes.len() <= INLINE {
            self.views.push(make_view(bytes, 0, 0));
        } else {
            self.push_long(bytes);
        }
    }

    fn push_long(&mut self, bytes: &[u8]) {
        if self.heap.len() > HEAP_LIMIT {
            self.full.push(Buffer::from_vec(std::mem::take(&mut self.heap)));
        }
        let view = make_view(bytes, self.full.len() as u32, self.heap.len() as u32);
        self.heap.extend_from_slice(bytes);
        self.views.push(view);
    }

    pub(crate) fn truncate(&mut self, rows: usize) {
        self.views.truncate(rows);
    }

    /// The finished array; the column starts anew.
    pub(crate) fn finish(&mut self, content: Content, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let views = ScalarBuffer::from(std::mem::take(&mut self.views));
        let mut buffers = std::mem::take(&mut self.full);
        if !self.heap.is_empty() {
            buffers.push(Buffer::from_vec(std::mem::take(&mut self.heap)));
        }
        let bytes = BinaryViewArray::try_new(views, buffers, nulls)?;
        Ok(match content {
            Content::Bytes => Arc::new(bytes),
            // Checks the texts once more, a word at a time for ASCII: the price of no unsafe code here.
            Content::Text | Content::Json => Arc::new(bytes.to_string_view()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    #[test]
    fn parts_of_every_length() {
        let text = "é0123456789abcdefghijklmnopqrstuvwxyz";
        for start in [0, 2, 20] {
            let mut views = Views::default();
            let ends: Vec<_> = (start..=text.len()).filter(|&end| text.is_char_boundary(end)).collect();
            for &end in &ends {
                assert_eq!(views.push_part(text, start, end), Some(()));
            }
            assert_eq!(views.push_part(text, 0, 1), None);
            let array = views.finish(Content::Text, None).unwrap();
            let got: Vec<_> = array.as_string_view().iter().flatten().collect();
            let want: Vec<_> = ends.iter().map(|&end| &text[start..end]).collect();
            assert_eq!(got, want);
        }
    }
}
