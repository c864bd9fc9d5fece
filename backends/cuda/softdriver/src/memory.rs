//! Device memory that knows of each word whether it was written, and by which thread of which block.

use crate::Fault;

/// Where the next allocation would go on an empty device; a GPU's addresses look alike.
const FIRST_ADDRESS: u64 = 0x7f00_0000_0000;
/// Of the start of every allocation, as the CUDA driver gives it.
const ALIGN: u64 = 512;
/// Unmapped bytes between allocations, so that running over the end of one does not reach the next.
const GAP: u64 = 4096;
/// Bytes that are tracked together; nothing smaller is ever accessed.
const WORD: usize = 2;
/// Bytes that an atomic replaces.
const ATOMIC: usize = 4;

/// Who last wrote a word.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// Number of the block, counted over all launches from 1; 0 for the host and for atomics.
    block: u32,
    /// Barriers and fences its block had passed.
    barriers: u32,
    fences: u32,
    thread: u16,
    is_set: bool,
}

struct Allocation {
    base: u64,
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

/// The memory of one device.
pub(crate) struct Memory {
    /// In ascending order of address.
    allocations: Vec<Allocation>,
    next: u64,
    in_use: usize,
    total: usize,
    /// The allocation found last: most often the next one.
    hint: usize,
}

/// The thread that reads or writes, and what its block may rely on.
#[derive(Clone, Copy)]
pub(crate) struct Accessor<'a> {
    pub(crate) block: u32,
    pub(crate) thread: u16,
    pub(crate) barriers: u32,
    pub(crate) fences: u32,
    /// An atomic and then a fence have been passed: what earlier blocks published may be read.
    pub(crate) has_acquired: bool,
    /// The first block of this launch.
    pub(crate) first_block: u32,
    /// Of each block of this launch, fences passed before its last atomic: writes before them are published.
    pub(crate) published: &'a [u32],
}

impl Accessor<'_> {
    /// Whether what is marked is ordered before this access.
    fn may_rely_on(&self, mark: &Mark) -> Result<(), String> {
        if mark.block < self.first_block {
            return Ok(());
        }
        if mark.block == self.block {
            if mark.thread == self.thread || mark.barriers < self.barriers {
                return Ok(());
            }
            return Err(format!(
                "thread {} wrote there since the last barrier",
                mark.thread
            ));
        }
        let published = self.published[(mark.block - self.first_block) as usize];
        if self.has_acquired && mark.fences < published {
            return Ok(());
        }
        let block = mark.block - self.first_block;
        Err(format!(
            "block {block} of this launch wrote there and no fence and atomic lie between"
        ))
    }
}

impl Memory {
    pub(crate) fn new(total: usize) -> Self {
        Self {
            allocations: Vec::new(),
            next: FIRST_ADDRESS,
            in_use: 0,
            total,
            hint: 0,
        }
    }

    pub(crate) fn free_bytes(&self) -> usize {
        self.total - self.in_use
    }

    pub(crate) fn total_bytes(&self) -> usize {
        self.total
    }

    pub(crate) fn allocations(&self) -> usize {
        self.allocations.len()
    }

    /// `None` when so much is not free.
    pub(crate) fn allocate(&mut self, bytes: usize) -> Option<u64> {
        if bytes > self.free_bytes() {
            return None;
        }
        let base = self.next;
        self.next = (base + bytes as u64 + GAP).next_multiple_of(ALIGN);
        self.in_use += bytes;
        self.allocations.push(Allocation {
            base,
            // Not zero: who forgets to write must not be lucky.
            bytes: vec![0xa5; bytes],
            marks: vec![Mark::default(); bytes.div_ceil(WORD)],
        });
        Some(base)
    }

    /// `false` when nothing was allocated there.
    pub(crate) fn free(&mut self, base: u64) -> bool {
        let Ok(index) = self.allocations.binary_search_by_key(&base, |it| it.base) else {
            return false;
        };
        self.in_use -= self.allocations.remove(index).bytes.len();
        true
    }

    fn find(&mut self, address: u64, bytes: usize) -> Result<(&mut Allocation, usize), Fault> {
        let holds = |it: &Allocation| (it.base..it.base + it.bytes.len() as u64).contains(&address);
        if !self.allocations.get(self.hint).is_some_and(holds) {
            let after = self.allocations.partition_point(|it| it.base <= address);
            self.hint = after.saturating_sub(1);
        }
        match self.allocations.get_mut(self.hint).filter(|it| holds(it)) {
            Some(allocation) => {
                let offset = (address - allocation.base) as usize;
                if offset + bytes > allocation.bytes.len() {
                    let (base, length) = (allocation.base, allocation.bytes.len());
                    return Err(Fault::illegal_address(format!(
                        "{bytes} bytes at {address:#x} leave the allocation of {length} bytes at {base:#x}"
                    )));
                }
                Ok((allocation, offset))
            }
            None => Err(Fault::illegal_address(format!(
                "{bytes} bytes at {address:#x} lie in no allocation"
            ))),
        }
    }

    fn aligned(address: u64, bytes: usize) -> Result<(), Fault> {
        if address.is_multiple_of(bytes as u64) {
            return Ok(());
        }
        Err(Fault::misaligned(format!(
            "{bytes} bytes at {address:#x} are not aligned"
        )))
    }

    /// Reads for a thread. `out` is one access: its length is its alignment.
    pub(crate) fn read(
        &mut self,
        who: &Accessor<'_>,
        address: u64,
        out: &mut [u8],
    ) -> Result<(), Fault> {
        Self::aligned(address, out.len())?;
        let (allocation, offset) = self.find(address, out.len())?;
        for mark in &allocation.marks[offset / WORD..(offset + out.len()) / WORD] {
            if !mark.is_set {
                return Err(Fault::other(format!(
                    "nothing was ever written at {address:#x}"
                )));
            }
            who.may_rely_on(mark)
                .map_err(|why| Fault::other(format!("race: read of {address:#x}, {why}")))?;
        }
        out.copy_from_slice(&allocation.bytes[offset..offset + out.len()]);
        Ok(())
    }

    /// Writes for a thread. `data` is one access: its length is its alignment.
    pub(crate) fn write(
        &mut self,
        who: &Accessor<'_>,
        address: u64,
        data: &[u8],
    ) -> Result<(), Fault> {
        Self::aligned(address, data.len())?;
        let (allocation, offset) = self.find(address, data.len())?;
        for mark in &mut allocation.marks[offset / WORD..(offset + data.len()) / WORD] {
            who.may_rely_on(mark)
                .map_err(|why| Fault::other(format!("race: write to {address:#x}, {why}")))?;
            *mark = Mark {
                is_set: true,
                block: who.block,
                thread: who.thread,
                barriers: who.barriers,
                fences: who.fences,
            };
        }
        allocation.bytes[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }

    /// Replaces a word in one go and gives what was there. Atomics do not race with each other.
    pub(crate) fn update(
        &mut self,
        address: u64,
        with: impl FnOnce(u32) -> u32,
    ) -> Result<u32, Fault> {
        Self::aligned(address, ATOMIC)?;
        let (allocation, offset) = self.find(address, ATOMIC)?;
        let marks = &mut allocation.marks[offset / WORD..(offset + ATOMIC) / WORD];
        if marks.iter().any(|mark| !mark.is_set) {
            return Err(Fault::other(format!(
                "nothing was ever written at {address:#x}"
            )));
        }
        marks.fill(Mark {
            is_set: true,
            ..Mark::default()
        });
        let word = &mut allocation.bytes[offset..offset + ATOMIC];
        let old = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        word.copy_from_slice(&with(old).to_le_bytes());
        Ok(old)
    }

    /// What the host reads: all of it must have been written.
    pub(crate) fn copy_out(&mut self, address: u64, out: &mut [u8]) -> Result<(), Fault> {
        let (allocation, offset) = self.find(address, out.len())?;
        let words = offset / WORD..(offset + out.len()).div_ceil(WORD);
        if let Some(word) = words.clone().find(|word| !allocation.marks[*word].is_set) {
            let at = allocation.base + (word * WORD) as u64;
            return Err(Fault::other(format!(
                "copy of {at:#x}, where nothing was ever written"
            )));
        }
        out.copy_from_slice(&allocation.bytes[offset..offset + out.len()]);
        Ok(())
    }

    /// What the host writes, orders before everything later.
    pub(crate) fn copy_in(&mut self, address: u64, data: &[u8]) -> Result<(), Fault> {
        let (allocation, offset) = self.find(address, data.len())?;
        allocation.bytes[offset..offset + data.len()].copy_from_slice(data);
        let words = offset / WORD..(offset + data.len()).div_ceil(WORD);
        allocation.marks[words].fill(Mark {
            is_set: true,
            ..Mark::default()
        });
        Ok(())
    }
}
