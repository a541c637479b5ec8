internal import Glibc

/// A bump allocator for float32 buffers that live as long as one forward pass.
///
/// Memory comes from the system in large blocks that ask for huge pages, and is kept across ``reset()``: after the first
/// step nothing is allocated. Buffers are 64-byte aligned and not cleared.
package final class Arena {
    private struct Block {
        let base: UnsafeMutablePointer<Float>
        let capacity: Int
        /// The most of it that has been given out: what lies behind takes no memory yet.
        var highWater = 0
    }

    private var blocks: [Block] = []
    private var current = 0
    private var used = 0
    private static let smallestBlock = 16 << 20  // floats: 64 MiB
    private static let hugePage = 2 << 20  // bytes

    package init() {}

    deinit {
        for block in blocks { munmap(block.base, block.capacity * MemoryLayout<Float>.stride) }
    }

    /// A buffer of `count` float32 values, valid until the next ``reset()``.
    package func allocate(_ count: Int) -> UnsafeMutablePointer<Float> {
        let need = (max(count, 1) + 15) & ~15
        while current < blocks.count {
            if used + need <= blocks[current].capacity {
                return take(need)
            }
            current += 1
            used = 0
        }
        blocks.append(Self.map(max(need, Self.smallestBlock)))
        current = blocks.count - 1
        used = 0
        return take(need)
    }

    private func take(_ count: Int) -> UnsafeMutablePointer<Float> {
        let start = blocks[current].base + used
        used += count
        blocks[current].highWater = max(blocks[current].highWater, used)
        return start
    }

    /// A place to go back to with ``rewind(to:)``.
    struct Mark {
        fileprivate let current: Int
        fileprivate let used: Int
    }

    func mark() -> Mark { Mark(current: current, used: used) }

    /// Forgets the buffers allocated since `mark`.
    func rewind(to mark: Mark) { (current, used) = (mark.current, mark.used) }

    /// Forgets all buffers; the memory stays.
    package func reset() { (current, used) = (0, 0) }

    /// Bytes of the memory that has been given out so far, to the page, whether it was written to or not.
    package var usedBytes: Int {
        blocks.reduce(0) { total, block in
            let bytes = block.highWater * MemoryLayout<Float>.stride
            return total + (bytes + Self.hugePage - 1) & ~(Self.hugePage - 1)
        }
    }

    private static func map(_ count: Int) -> Block {
        let bytes = (count * MemoryLayout<Float>.stride + Self.hugePage - 1) & ~(Self.hugePage - 1)
        let memory = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory, memory != MAP_FAILED else {
            stopOutOfMemory(bytes: bytes, for: "activations")
        }
        madvise(memory, bytes, MADV_HUGEPAGE)
        return Block(
            base: memory.assumingMemoryBound(to: Float.self), capacity: bytes / MemoryLayout<Float>.stride)
    }
}

/// Reusable float32 buffers by size, for cotangents, which die as soon as the operation that made the value has run.
final class BufferPool {
    /// Free buffers of one size. A class, because changing an array within a dictionary allocates each time.
    private final class Shelf {
        var buffers: [UnsafeMutablePointer<Float>] = []
    }

    private let arena = Arena()
    private var shelves: [Int: Shelf] = [:]

    func take(_ count: Int) -> UnsafeMutablePointer<Float> {
        shelves[count]?.buffers.popLast() ?? arena.allocate(count)
    }

    func give(_ buffer: UnsafeMutablePointer<Float>, count: Int) {
        if let shelf = shelves[count] {
            shelf.buffers.append(buffer)
        } else {
            let shelf = Shelf()
            shelf.buffers.append(buffer)
            shelves[count] = shelf
        }
    }

    /// Bytes of all buffers, free ones included.
    var bytes: Int { arena.usedBytes }
}
