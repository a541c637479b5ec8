import Foundation
import Testing

/// An array that ends at an unreadable page, so that a kernel that reads or writes past it stops the test at once, and
/// that knows whether something was written before it.
///
/// Because the end is aligned and the start is not, odd lengths also give every alignment a kernel may meet. The pages
/// stay mapped until the process ends: kernels take bare pointers, which keep nothing alive. All tests of kernels
/// together use some tens of megabytes.
struct Guarded<Element: BitwiseCopyable> {
    let pointer: UnsafeMutablePointer<Element>
    let count: Int
    private let base: UnsafeMutableRawPointer
    private static var canary: UInt8 { 0xA5 }

    init(_ values: [Element]) {
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let bytes = values.count * MemoryLayout<Element>.stride
        // At least 64 bytes of canary stand before the first element.
        let readable = (bytes + 64 + page - 1) / page * page
        let mapping = mmap(nil, readable + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let mapping, mapping != MAP_FAILED, mprotect(mapping + readable, page, PROT_NONE) == 0 else {
            fatalError("cannot map \(readable + page) bytes for a test buffer: errno \(errno)")
        }
        base = mapping
        count = values.count
        memset(base, Int32(Self.canary), readable - bytes)
        pointer = (base + readable - bytes).assumingMemoryBound(to: Element.self)
        pointer.initialize(from: values, count: count)
    }

    /// What the buffer holds now. Records an issue when something was written before it.
    var values: [Element] {
        let gap = UnsafeRawBufferPointer(start: base, count: UnsafeRawPointer(pointer) - UnsafeRawPointer(base))
        if !gap.suffix(256).allSatisfy({ $0 == Self.canary }) {
            Issue.record("a kernel wrote before the start of a buffer of \(count) elements")
        }
        return Array(UnsafeBufferPointer(start: pointer, count: count))
    }
}

extension Guarded where Element == Float {
    /// `count` times the same value.
    init(repeating value: Float, count: Int) { self.init([Float](repeating: value, count: count)) }
}
