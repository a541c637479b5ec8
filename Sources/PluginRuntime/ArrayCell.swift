import Glibc
import PluginAPI

/// The `craft_array` of one array argument, with room for its shape, and for a result the memory behind it. The rank is
/// fixed by the signature; memory is kept and reused while it is large enough.
final class ArrayCell {
    let view: UnsafeMutablePointer<craft_array>
    private let element: ElementType
    private let rank: Int
    private let dimensions: UnsafeMutablePointer<Int64>
    private var memory: UnsafeMutableRawPointer?
    private var capacity = 0
    /// The result before this one, while a call still reads it.
    private var previous: UnsafeMutableRawPointer?
    private var previousCapacity = 0
    /// What `data` points at when there are no elements: never read, never NULL.
    private let empty: UnsafeMutableRawPointer

    init(type: ValueType) {
        element = type.element
        rank = type.axes?.count ?? 0
        dimensions = .allocate(capacity: 2 * max(rank, 1))
        dimensions.initialize(repeating: 0, count: 2 * max(rank, 1))
        empty = .allocate(byteCount: 64, alignment: 64)
        view = .allocate(capacity: 1)
        view.initialize(to: craft_array())
        view.pointee.device_type = CRAFT_DEVICE_CPU
        view.pointee.ndim = Int32(rank)
        view.pointee.type_code = UInt8(element == .i64 ? CRAFT_TYPE_INT : CRAFT_TYPE_FLOAT)
        view.pointee.type_bits = UInt8(element.size * 8)
        view.pointee.type_lanes = 1
        view.pointee.shape = dimensions
        view.pointee.strides = dimensions + rank
    }

    deinit {
        view.deallocate()
        dimensions.deallocate()
        empty.deallocate()
        free(memory)
        free(previous)
    }

    var shape: [Int] { (0..<rank).map { Int(dimensions[$0]) } }

    private var count: Int { shape.reduce(1, *) }

    var arrayView: ArrayView {
        ArrayView(pointer: view.pointee.data ?? empty, element: element, shape: shape, owner: self)
    }

    /// Shows somebody else's memory.
    func point(to pointer: UnsafeMutableRawPointer, shape: [Int], flags: UInt64) {
        var stride: Int64 = 1
        for axis in (0..<rank).reversed() {
            dimensions[axis] = Int64(shape[axis])
            dimensions[rank + axis] = stride
            stride *= Int64(shape[axis])
        }
        view.pointee.data = pointer
        view.pointee.flags = flags
    }

    /// Makes room for a result of `shape`. Floating-point memory is filled with NaN, so that an element the plugin does
    /// not write is noticed; integers are zeroed. False when the size overflows or there is no memory.
    ///
    /// - Parameter isRead: whether the call reads memory at this address: a hook that gives a chained value may be given its
    ///   own last result.
    func allocate(shape: [Int], isRead: (UnsafeMutableRawPointer) -> Bool) -> Bool {
        if let memory, isRead(memory) {
            swap(&self.memory, &previous)
            swap(&capacity, &previousCapacity)
        }
        var bytes = element.size
        for size in shape {
            let (product, isOverflow) = bytes.multipliedReportingOverflow(by: size)
            if isOverflow || size < 0 { return false }
            bytes = product
        }
        if bytes > capacity {
            var fresh: UnsafeMutableRawPointer?
            guard posix_memalign(&fresh, 64, bytes) == 0, let fresh else { return false }
            free(memory)
            memory = fresh
            capacity = bytes
        }
        let data = memory ?? empty
        point(to: data, shape: shape, flags: UInt64(CRAFT_ARRAY_UNWRITTEN))
        // All bits set is a NaN in both floating-point types.
        memset(data, element == .i64 ? 0 : 0xff, bytes)
        return true
    }

    /// Whether a result is as ``allocate(shape:isRead:)`` left it. Integers of a plugin that asked where to write them never are.
    var isUntouched: Bool {
        let indices = 0..<count
        switch element {
        case .i64:
            guard view.pointee.flags & UInt64(CRAFT_ARRAY_UNWRITTEN) != 0, let data = view.pointee.data else {
                return false
            }
            let values = data.assumingMemoryBound(to: Int64.self)
            return !indices.isEmpty && indices.allSatisfy { values[$0] == 0 }
        case .f32, .f64: return !indices.isEmpty && indices.allSatisfy(isUnwritten)
        }
    }

    /// Whether a floating-point element is as ``allocate(shape:isRead:)`` left it.
    func isUnwritten(_ index: Int) -> Bool {
        guard let data = view.pointee.data else { return false }
        return switch element {
        case .i64: false
        case .f32: data.assumingMemoryBound(to: UInt32.self)[index] == .max
        case .f64: data.assumingMemoryBound(to: UInt64.self)[index] == .max
        }
    }

    /// Index of the first element that is infinite or not a number; integers always pass.
    func firstNonFinite() -> Int? {
        guard let data = view.pointee.data else { return nil }
        let count = count
        // The largest magnitude as an integer: a branch-free pass that the compiler vectorises.
        switch element {
        case .i64: return nil
        case .f32:
            let bits = UnsafeBufferPointer(start: data.assumingMemoryBound(to: UInt32.self), count: count)
            var largest: UInt32 = 0
            for value in bits { largest = max(largest, value & 0x7fff_ffff) }
            return largest < 0x7f80_0000 ? nil : bits.firstIndex { $0 & 0x7fff_ffff >= 0x7f80_0000 }
        case .f64:
            let bits = UnsafeBufferPointer(start: data.assumingMemoryBound(to: UInt64.self), count: count)
            let exponent: UInt64 = 0x7ff0_0000_0000_0000
            var isBad: UInt64 = 0
            for value in bits { isBad |= (value & exponent) == exponent ? 1 : 0 }
            return isBad == 0 ? nil : bits.firstIndex { $0 & exponent == exponent }
        }
    }
}
