internal import Glibc

/// A bump allocator for float32 buffers that live as long as one forward pass.
///
/// Memory comes from the system in large blocks that ask for huge pages, and is kept across ``reset()``: after the first
/// step nothing is allocated. Buffers are 64-byte aligned and not cleared.
public final class Arena {
    private struct Block {
        let base: UnsafeMutablePointer<Float>
        let capacity: Int
    }

    private var blocks: [Block] = []
    private var current = 0
    private var used = 0
    private var live = 0
    private static let smallestBlock = 4 << 20  // floats: 16 MiB

    public init() {}

    deinit {
        for block in blocks { munmap(block.base, block.capacity * MemoryLayout<Float>.stride) }
    }

    /// A buffer of `count` float32 values, valid until the next ``reset()``.
    public func allocate(_ count: Int) -> UnsafeMutablePointer<Float> {
        let need = (max(count, 1) + 15) & ~15
        while current < blocks.count {
            if used + need <= blocks[current].capacity {
                reserve(need)
                defer { used += need }
                return blocks[current].base + used
            }
            current += 1
            used = 0
        }
        blocks.append(Self.map(max(need, Self.smallestBlock)))
        current = blocks.count - 1
        used = need
        reserve(need)
        return blocks[current].base
    }

    private func reserve(_ values: Int) {
        live += values
        peak = max(peak, live)
    }

    /// A place to go back to with ``rewind(to:)``.
    struct Mark {
        fileprivate let current: Int
        fileprivate let used: Int
        fileprivate let live: Int
    }

    func mark() -> Mark { Mark(current: current, used: used, live: live) }

    /// Forgets the buffers allocated since `mark`.
    func rewind(to mark: Mark) { (current, used, live) = (mark.current, mark.used, mark.live) }

    /// Forgets all buffers; the memory stays.
    public func reset() { (current, used, live) = (0, 0, 0) }

    /// The most values that have been allocated at a time.
    public private(set) var peak = 0

    /// Bytes held from the system.
    public var bytes: Int { blocks.reduce(0) { $0 + $1.capacity } * MemoryLayout<Float>.stride }

    private static func map(_ count: Int) -> Block {
        let hugePage = 2 << 20
        let bytes = (count * MemoryLayout<Float>.stride + hugePage - 1) & ~(hugePage - 1)
        let memory = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory, memory != MAP_FAILED else {
            fatalError("out of memory: the system gave no block of \(bytes >> 20) MiB for activations")
        }
        madvise(memory, bytes, MADV_HUGEPAGE)
        return Block(
            base: memory.assumingMemoryBound(to: Float.self), capacity: bytes / MemoryLayout<Float>.stride)
    }
}

/// Reusable float32 buffers by size, for cotangents, which die as soon as the operation that made the value has run.
final class BufferPool {
    private let arena = Arena()
    private var free: [Int: [UnsafeMutablePointer<Float>]] = [:]

    func take(_ count: Int) -> UnsafeMutablePointer<Float> {
        if let buffer = free[count]?.popLast() { return buffer }
        return arena.allocate(count)
    }

    func give(_ buffer: UnsafeMutablePointer<Float>, count: Int) { free[count, default: []].append(buffer) }

    var bytes: Int { arena.bytes }

    /// Values in all buffers, free ones included.
    var count: Int { arena.peak }
}
