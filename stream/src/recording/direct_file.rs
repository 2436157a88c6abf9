//! The end of a file, to which bytes go through the page cache or past it, whichever is faster.

use std::fs::File;
use std::io::{self, IoSlice};
use std::time::Instant;

use super::aligned::{AlignedBuffer, Run};
use super::batch::Batch;
use super::chooser::{Chooser, Way};
use super::descriptor::Descriptor;
use super::lane::Lane;
use super::storage::{Reach, ReadAt, Storage};

/// A file that is written at its end.
///
/// Past the cache only whole blocks can go. So they are copied to where they are aligned, and a thread of its own writes
/// them while the next ones are copied; what is less than a block waits for the next write, or goes through the cache
/// when everything has to go. What is in the file is never written again: after half a block the other half goes
/// through the cache as well. A page that readers look at is thus never under a direct write, and no direct write waits
/// for a page.
#[derive(Debug)]
pub(super) struct DirectFile<D = File> {
    /// `None` while the lane has it.
    file: Option<D>,
    /// Bytes of the file, with those that the lane has.
    at: u64,
    chooser: Chooser,
    /// What was taken and is not in the file yet; made at the first direct write.
    buffer: Option<AlignedBuffer>,
    /// The other one.
    spare: Option<AlignedBuffer>,
    lane: Option<Lane<D>>,
    buffer_len: usize,
    /// A batch with fewer bytes goes through the cache.
    worthwhile: u64,
}

// Less is not worth a trip to the disk of its own, and too little to measure.
const WORTHWHILE: u64 = 512 << 10;
// Twice what is gathered: then a direct write has a whole batch.
const BUFFER: usize = 2 << 20;

impl<D: Descriptor> DirectFile<D> {
    /// A file that is empty, or is truncated before it is written.
    pub(super) fn new(file: D, chooser: Chooser) -> Self {
        DirectFile {
            file: Some(file),
            at: 0,
            chooser,
            buffer: None,
            spare: None,
            lane: None,
            buffer_len: BUFFER,
            worthwhile: WORTHWHILE,
        }
    }

    /// Goes on with `next`, which is empty, and with what was learnt. Of this file everything is written.
    pub(super) fn followed_by(mut self, next: D) -> Self {
        if let Some(buffer) = &mut self.buffer {
            buffer.begin(0);
        }
        DirectFile {
            file: Some(next),
            at: 0,
            ..self
        }
    }

    fn put(&mut self, batch: &Batch, reach: Reach) -> io::Result<()> {
        match self.chooser.way() {
            Way::Direct if batch.len() >= self.worthwhile => self.put_direct(batch)?,
            Way::Direct | Way::Cached => self.put_cached(batch)?,
        }
        match reach {
            Reach::Everything => self.write_waiting(),
            Reach::Blocks => Ok(()),
        }
    }

    fn put_cached(&mut self, batch: &Batch) -> io::Result<()> {
        self.write_waiting()?;
        let file = here(&mut self.file)?;
        let at = &mut self.at;
        batch.write_with(|slices| {
            let written = file.write(slices)?;
            *at += written as u64;
            Ok(written)
        })
    }

    fn put_direct(&mut self, batch: &Batch) -> io::Result<()> {
        if !self.prepare()? {
            self.chooser.handle_refused();
            return self.put_cached(batch);
        }
        for mut piece in batch.pieces() {
            while !piece.is_empty() {
                let at = self.at;
                let Some(buffer) = &mut self.buffer else { break };
                if buffer.is_empty() {
                    buffer.begin(at);
                }
                piece = &piece[buffer.take(piece)..];
                if buffer.is_full() {
                    self.write_blocks()?;
                }
            }
        }
        self.write_blocks()
    }

    /// Makes what direct writes need; `false` where there can be none.
    fn prepare(&mut self) -> io::Result<bool> {
        if self.lane.is_none() {
            let Some(align) = here(&mut self.file)?.alignment() else {
                return Ok(false);
            };
            let Ok(lane) = Lane::start() else {
                return Ok(false);
            };
            self.lane = Some(lane);
            self.buffer = Some(AlignedBuffer::new(self.buffer_len, align));
            self.spare = Some(AlignedBuffer::new(self.buffer_len, align));
        }
        Ok(true)
    }

    /// Has what reaches the end of a block written.
    fn write_blocks(&mut self) -> io::Result<()> {
        while let Some(Run::Head(_)) = self.buffer.as_ref().and_then(AlignedBuffer::run) {
            self.land()?;
            let (file, Some(buffer)) = (here(&mut self.file)?, &mut self.buffer) else {
                break;
            };
            if let Some(Run::Head(head)) = buffer.run() {
                let written = file.write(&[IoSlice::new(head)]);
                self.at += advance(buffer, written)?;
            }
        }
        let Some(Run::Blocks(blocks)) = self.buffer.as_ref().and_then(AlignedBuffer::run) else {
            return Ok(());
        };
        let len = blocks.len() as u64;
        self.land()?;
        if self.chooser.way() == Way::Cached {
            // It was refused just now.
            return self.write_waiting();
        }
        if let (Some(lane), Some(mut next)) = (&self.lane, self.spare.take())
            && let (Some(file), Some(mut buffer)) = (self.file.take(), self.buffer.take())
        {
            self.at += len;
            next.begin(self.at);
            buffer.move_tail(&mut next);
            self.buffer = Some(next);
            lane.send(file, buffer)?;
        }
        Ok(())
    }

    /// Waits for what the lane writes. What it could not write directly goes through the cache.
    fn land(&mut self) -> io::Result<()> {
        let (None, Some(lane)) = (&self.file, &mut self.lane) else {
            return Ok(());
        };
        let landed = lane.land()?;
        let file = self.file.insert(landed.file);
        let buffer = self.spare.insert(landed.buffer);
        match landed.result {
            Err(error) if is_refusal(&error) => self.chooser.handle_refused(),
            // The last messages may fit that are shorter than all of this.
            Err(error) if is_full(&error) => {}
            result => result?,
        }
        while !buffer.is_empty() {
            let written = file.write(&[IoSlice::new(buffer.waiting())]);
            advance(buffer, written)?;
        }
        Ok(())
    }

    /// Writes what was kept back, through the cache: then everything is written.
    fn write_waiting(&mut self) -> io::Result<()> {
        self.land()?;
        let (file, Some(buffer)) = (here(&mut self.file)?, &mut self.buffer) else {
            return Ok(());
        };
        while !buffer.is_empty() {
            let written = file.write(&[IoSlice::new(buffer.waiting())]);
            self.at += advance(buffer, written)?;
        }
        Ok(())
    }
}

/// Takes what was written out of the buffer.
pub(super) fn advance(buffer: &mut AlignedBuffer, written: io::Result<usize>) -> io::Result<u64> {
    match written {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Ok(written) => {
            buffer.advance(written);
            Ok(written as u64)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(error),
    }
}

/// The file, once it has landed.
fn here<D>(file: &mut Option<D>) -> io::Result<&mut D> {
    file.as_mut().ok_or_else(away)
}

fn away() -> io::Error {
    io::Error::other("the file is still being written")
}

/// Whether the file system has no direct writes, which some tell only when one is tried.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Read once everything is written, or writing has failed.
impl<D: Descriptor> ReadAt for DirectFile<D> {
    fn size(&self) -> io::Result<u64> {
        self.file.as_ref().ok_or_else(away)?.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.as_ref().ok_or_else(away)?.read_at(buf, offset)
    }
}

impl<D: Descriptor> Storage for DirectFile<D> {
    fn write(&mut self, batch: &Batch, reach: Reach) -> io::Result<()> {
        let start = Instant::now();
        if let Err(error) = self.put(batch, reach) {
            // It is about to be read, to see what is in it.
            let _ = self.land();
            return Err(error);
        }
        if batch.len() >= self.worthwhile {
            self.chooser.handle_written(batch.len(), start.elapsed());
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        // What has not landed comes after what is cut off, and so does what waits.
        let _ = self.land();
        if let Some(buffer) = &mut self.buffer {
            buffer.begin(len);
        }
        here(&mut self.file)?.truncate(len)?;
        self.at = len;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.write_waiting()?;
        here(&mut self.file)?.sync()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flexbond_transport::Message;
    use proptest::prelude::*;

    use super::*;
    use crate::recording::encoder::Encoder;
    use crate::recording::file_writer::FileWriter;
    use crate::recording::{Compression, DirectWrites, Reader, Timestamp};

    const BLOCK: usize = 64;

    /// A file in memory, and a disk with so much room.
    #[derive(Debug)]
    struct Disk {
        bytes: Vec<u8>,
        room: usize,
        direct: Direct,
        directly: usize,
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Direct {
        /// A write that does not fit fails as a whole, as on ext4.
        Whole,
        /// One block at a time.
        Short,
        Refused,
        /// Refused from so many bytes on, as it may be beyond a limit.
        RefusedFrom(usize),
        /// There is no alignment.
        Unknown,
    }

    impl ReadAt for Disk {
        fn size(&self) -> io::Result<u64> {
            self.bytes.size()
        }

        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            self.bytes.read_at(buf, offset)
        }
    }

    impl Descriptor for Disk {
        fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let (before, room) = (self.bytes.len(), self.room - self.bytes.len());
            let slices = slices.iter().flat_map(|slice| slice.iter().copied());
            self.bytes.extend(slices.take(room));
            match self.bytes.len() - before {
                0 => Err(io::ErrorKind::StorageFull.into()),
                written => Ok(written),
            }
        }

        fn write_direct(&mut self, blocks: &[u8]) -> io::Result<usize> {
            assert!(!blocks.is_empty());
            assert_eq!((self.bytes.len() % BLOCK, blocks.len() % BLOCK), (0, 0));
            assert_eq!(blocks.as_ptr().addr() % BLOCK, 0);
            self.directly += 1;
            let len = match self.direct {
                Direct::Whole => blocks.len(),
                Direct::Short => BLOCK,
                Direct::RefusedFrom(len) if self.bytes.len() < len => BLOCK,
                Direct::Refused | Direct::RefusedFrom(_) => return Err(io::ErrorKind::InvalidInput.into()),
                Direct::Unknown => panic!("it said that there are no direct writes"),
            };
            if self.room - self.bytes.len() < len {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.bytes.extend_from_slice(&blocks[..len]);
            Ok(len)
        }

        fn alignment(&self) -> Option<usize> {
            (self.direct != Direct::Unknown).then_some(BLOCK)
        }

        fn truncate(&mut self, len: u64) -> io::Result<()> {
            self.bytes.truncate(len as usize);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn file(direct: Direct, room: usize, policy: DirectWrites) -> DirectFile<Disk> {
        let disk = Disk {
            bytes: Vec::new(),
            room,
            direct,
            directly: 0,
        };
        DirectFile {
            buffer_len: 4 * BLOCK,
            worthwhile: 0,
            ..DirectFile::new(disk, Chooser::new(policy, true))
        }
    }

    fn disk(file: &DirectFile<Disk>) -> &Disk {
        file.file.as_ref().expect("it has landed")
    }

    fn batch(bytes: &[u8]) -> Batch {
        let mut batch = Batch::new();
        // Copied and shared pieces, in turns.
        for (n, piece) in bytes.chunks(90).enumerate() {
            match n % 2 {
                0 => drop(batch.copy(piece)),
                _ => batch.share(Bytes::copy_from_slice(piece)),
            }
        }
        batch
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write {
            len: usize,
            direct: bool,
            everything: bool,
        },
        Truncate(prop::sample::Index),
        Sync,
        /// As when the next file of a recording is begun.
        Next,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            12 => (0..1_000_usize, any::<bool>(), any::<bool>()).prop_map(|(len, direct, everything)| Step::Write {
                len,
                direct,
                everything
            }),
            2 => any::<prop::sample::Index>().prop_map(Step::Truncate),
            1 => Just(Step::Sync),
            1 => Just(Step::Next),
        ]
    }

    fn direct() -> impl Strategy<Value = Direct> {
        prop_oneof![
            Just(Direct::Whole),
            Just(Direct::Short),
            Just(Direct::Refused),
            (0..4_000_usize).prop_map(Direct::RefusedFrom),
            Just(Direct::Unknown),
        ]
    }

    proptest! {
        #[test]
        fn a_file_is_the_same_whichever_ways_it_was_written(
            steps in prop::collection::vec(step(), 1..40),
            direct in direct(),
        ) {
            let mut written = file(direct, usize::MAX, DirectWrites::Auto);
            let (mut expected, mut next) = (Vec::new(), 0_u8);
            for step in steps {
                let everything = match step {
                    Step::Write { len, direct, everything } => {
                        let bytes: Vec<u8> = (0..len).map(|_| { next = next.wrapping_mul(5).wrapping_add(3); next }).collect();
                        written.chooser = Chooser::new(match direct {
                            true => DirectWrites::Always,
                            false => DirectWrites::Never,
                        }, false);
                        let reach = match everything {
                            true => Reach::Everything,
                            false => Reach::Blocks,
                        };
                        written.write(&batch(&bytes), reach).unwrap();
                        expected.extend(bytes);
                        everything
                    }
                    Step::Truncate(at) => {
                        // To what is in the file, as after a survey of it.
                        let len = at.index(disk(&written).bytes.len() + 1);
                        written.truncate(len as u64).unwrap();
                        expected.truncate(len);
                        true
                    }
                    Step::Sync => {
                        written.sync().unwrap();
                        true
                    }
                    Step::Next => {
                        let disk = Disk { bytes: Vec::new(), room: usize::MAX, direct, directly: 0 };
                        written.write(&Batch::new(), Reach::Everything).unwrap();
                        written = written.followed_by(disk);
                        expected.clear();
                        true
                    }
                };
                written.land().unwrap();
                let there = disk(&written).bytes.len();
                prop_assert!(there + BLOCK > expected.len() && (there == expected.len() || !everything));
                prop_assert_eq!(&disk(&written).bytes[..], &expected[..there]);
            }
            written.write(&Batch::new(), Reach::Everything).unwrap();
            prop_assert_eq!(&disk(&written).bytes, &expected);
        }
    }

    #[test]
    fn a_file_that_refuses_is_asked_once() {
        for (direct, asked) in [(Direct::Refused, 1), (Direct::Unknown, 0)] {
            let mut file = file(direct, usize::MAX, DirectWrites::Always);
            for _ in 0..5 {
                file.write(&batch(&[7; 1_000]), Reach::Blocks).unwrap();
            }
            file.sync().unwrap();
            assert_eq!((disk(&file).directly, disk(&file).bytes.len()), (asked, 5_000));
        }
    }

    #[test]
    fn little_goes_through_the_cache() {
        let mut file = file(Direct::Whole, usize::MAX, DirectWrites::Always);
        file.worthwhile = 500;
        file.write(&batch(&[7; 499]), Reach::Everything).unwrap();
        assert_eq!(disk(&file).directly, 0);
        file.write(&batch(&[7; 500]), Reach::Everything).unwrap();
        assert!(disk(&file).directly > 0);
        assert_eq!(disk(&file).bytes.len(), 999);
    }

    #[test]
    fn other_errors_are_told() {
        #[derive(Debug)]
        struct Broken;
        impl ReadAt for Broken {
            fn size(&self) -> io::Result<u64> {
                Ok(0)
            }
            fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
                Ok(0)
            }
        }
        impl Descriptor for Broken {
            fn write(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
                panic!("an error of the disk was passed over")
            }
            fn write_direct(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is broken"))
            }
            fn alignment(&self) -> Option<usize> {
                Some(BLOCK)
            }
            fn truncate(&mut self, _: u64) -> io::Result<()> {
                Ok(())
            }
            fn sync(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut file = DirectFile::new(Broken, Chooser::new(DirectWrites::Always, false));
        let error = file
            .write(&batch(&vec![7; BUFFER]), Reach::Everything)
            .unwrap_err();
        assert_eq!(error.to_string(), "the disk is broken");
    }

    #[test]
    fn a_disk_that_is_full_at_any_byte_keeps_every_whole_message_of_direct_writes() {
        let message = |number: u64| Message::from(vec![number as u8; 10 + 40 * number as usize % 170]);
        let push = |writer: &mut FileWriter<DirectFile<Disk>>, number: u64| {
            writer
                .push(&message(number), Timestamp::from_nanos(number as i64))
                .unwrap();
            match number % 4 {
                3 => writer.flush(),
                1 => writer.write_blocks(),
                _ => Ok(()),
            }
        };
        let begin = |room, direct| {
            let mut batch = Batch::new();
            let encoder = Encoder::new(1, Timestamp::from_nanos(1), Compression::None, &mut batch).unwrap();
            FileWriter::begin(file(direct, room, DirectWrites::Always), encoder, batch).unwrap()
        };
        for direct in [Direct::Whole, Direct::Short] {
            let mut whole = begin(usize::MAX, direct);
            // Where the file ends after each message.
            let ends: Vec<u64> = (0..18)
                .map(|number| {
                    push(&mut whole, number).unwrap();
                    whole.encoder().offset()
                })
                .collect();
            whole.finish().unwrap();
            let storage = whole.into_storage();
            let whole = disk(&storage);
            assert!(whole.directly > 10);
            for room in 64..whole.bytes.len() {
                let mut writer = begin(room, direct);
                let stopped = (0..18).find_map(|number| {
                    push(&mut writer, number)
                        .err()
                        .map(|stopped| (stopped, number + 1))
                });
                let (stopped, pushed) = stopped.unwrap_or_else(|| (writer.finish().unwrap_err(), 18));
                let kept = ends.iter().filter(|&&end| end <= room as u64).count() as u64;
                assert_eq!(
                    (stopped.kept, stopped.lost),
                    (kept, pushed - kept),
                    "{direct:?}, room {room}"
                );
                let reader = Reader::new(disk(&writer.into_storage()).bytes.clone()).unwrap();
                assert_eq!(
                    (reader.info().bytes_lost, reader.info().closed_cleanly),
                    (0, stopped.closed),
                    "{direct:?}, room {room}"
                );
                let read: Vec<Message> = reader.map(|recorded| recorded.unwrap().message).collect();
                assert_eq!(read, (0..kept).map(message).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_on_a_disk_is_the_same_past_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| (n ^ (n >> 7)) as u8).collect();
        for policy in [DirectWrites::Always, DirectWrites::Never, DirectWrites::Auto] {
            let path = folder.path().join(format!("{policy:?}"));
            let open = || {
                File::options()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(&path)
                    .unwrap()
            };
            let mut file = DirectFile::new(open(), Chooser::new(policy, false));
            let reader = open();
            let mut given = 0;
            for (n, chunk) in bytes.chunks(777_777).enumerate() {
                let reach = match n % 3 {
                    2 => Reach::Everything,
                    _ => Reach::Blocks,
                };
                file.write(&batch(chunk), reach).unwrap();
                given += chunk.len();
                file.land().unwrap();
                // What others see.
                let mut seen = vec![0; reader.size().unwrap() as usize];
                reader.read_exact_at(&mut seen, 0).unwrap();
                assert!(seen[..] == bytes[..seen.len()]);
                // All but less than the largest block.
                assert!(seen.len() <= given && given < seen.len() + 65_536);
            }
            file.truncate(3_333_333).unwrap();
            file.write(&batch(&bytes[3_333_333..]), Reach::Everything)
                .unwrap();
            file.sync().unwrap();
            assert!(std::fs::read(&path).unwrap() == bytes, "{policy:?}");
            if policy == DirectWrites::Always && file.chooser.way() != Way::Direct {
                eprintln!("NOT TESTED: {} has no direct writes", folder.path().display());
            }
        }
    }
}
