import Foundation
import PluginRuntime
import TestSupport

extension PluginSearch {
    /// The folder the build put the shipped plugins in.
    static var build: PluginSearch { PluginSearch(paths: [BuildFolder.url.path]) }
}

/// An array that lives as long as the test needs it.
final class TestArray<Element> {
    private let buffer: UnsafeMutableBufferPointer<Element>
    private let shape: [Int]
    private let element: ElementType

    init(_ elements: [Element], shape: [Int]) {
        buffer = .allocate(capacity: max(elements.count, 1))
        _ = buffer.initialize(from: elements)
        self.shape = shape
        element = Element.self == Float.self ? .f32 : Element.self == Double.self ? .f64 : .i64
    }

    deinit { buffer.deallocate() }

    var view: ArrayView {
        ArrayView(pointer: UnsafeMutableRawPointer(buffer.baseAddress!), element: element, shape: shape)
    }
}
