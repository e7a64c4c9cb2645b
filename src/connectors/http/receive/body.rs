//! Bodies: read within limits of size and time, and decompressed within the same.

use std::future::{Future, poll_fn};
use std::io::Read;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Incoming};

use super::inbox::Held;

/// How much is decompressed at a time.
const STEP: usize = 16 << 10;

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is longer than allowed.
    TooLong,
    /// It took longer than allowed.
    TooSlow,
    /// There is no room for it now.
    NoRoom,
    /// The connection ended, or what came is no HTTP.
    Broken,
    /// It is not compressed as it says.
    NotCompressed,
}

/// Reads a body. It may be there already; the clock runs only if it is not.
pub async fn read(mut body: Incoming, most: usize, longest: Duration, held: &mut Held) -> Result<Bytes, Trouble> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    let mut clock = None;
    loop {
        let frame = poll_fn(|context| {
            if let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(context) {
                return Poll::Ready(Ok(frame));
            }
            let clock = clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(longest)));
            match clock.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(Trouble::TooSlow)),
                Poll::Pending => Poll::Pending,
            }
        });
        let Some(frame) = frame.await? else {
            break;
        };
        let Ok(data) = frame.map_err(|_| Trouble::Broken)?.into_data() else {
            continue;
        };
        if data.len() > most - first.len() - more.len() {
            return Err(Trouble::TooLong);
        }
        if !held.grow(data.len()) {
            return Err(Trouble::NoRoom);
        }
        match first.is_empty() && more.is_empty() {
            true => first = data,
            false => {
                if more.is_empty() {
                    more.extend_from_slice(&first);
                    first = Bytes::new();
                }
                more.extend_from_slice(&data);
            }
        }
    }
    Ok(match more.is_empty() {
        true => first,
        false => more.freeze(),
    })
}

/// Decompresses a body of gzip, up to so many bytes.
pub fn gunzipped(body: &[u8], most: usize, held: &mut Held) -> Result<Bytes, Trouble> {
    let mut reader = flate2::read::MultiGzDecoder::new(body);
    let mut whole = Vec::new();
    let mut room = 0;
    loop {
        let length = whole.len();
        if length + STEP > room {
            if !held.grow(STEP) {
                return Err(Trouble::NoRoom);
            }
            room += STEP;
        }
        whole.resize(length + STEP, 0);
        let count = reader.read(&mut whole[length..]).map_err(|_| Trouble::NotCompressed)?;
        whole.truncate(length + count);
        match count {
            0 => return Ok(whole.into()),
            _ if whole.len() > most => return Err(Trouble::TooLong),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::inbox::Inbox;
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let inbox = Inbox::new(64 << 20, crossbeam_channel::bounded(1).0);
        let bomb = gzip(&vec![b' '; 32 << 20]);
        assert!(bomb.len() < 64 << 10);
        assert_eq!(gunzipped(&bomb, 1 << 20, &mut inbox.hold()), Err(Trouble::TooLong));
        let text = b"[{\"a\":1}]".repeat(10_000);
        assert_eq!(gunzipped(&gzip(&text), 1 << 20, &mut inbox.hold()).unwrap(), text);
        for broken in [&bomb[..100], b"{}", b""] {
            assert_eq!(
                gunzipped(broken, 1 << 30, &mut inbox.hold()),
                Err(Trouble::NotCompressed)
            );
        }
        let small = Inbox::new(1 << 10, crossbeam_channel::bounded(1).0);
        assert_eq!(gunzipped(&bomb, 1 << 20, &mut small.hold()), Err(Trouble::NoRoom));
    }
}
