import Foundation
import PluginRuntime
import TestSupport
import Testing
import Training

extension PluginSearch {
    /// The folder the build put the shipped plugins in.
    static var build: PluginSearch { PluginSearch(paths: [BuildFolder.url.path]) }
}

/// The shipped plugins of `list` under the trainer's names.
func compose(_ list: String) throws -> Composition {
    try Composition(PluginRequest.parseList(list), search: .build, registry: .training)
}

/// The problems a list of shipped plugins has; fails the test when it has none.
func problems(_ list: String) throws -> [CompositionProblem] {
    let error = try #require(throws: CompositionError.self) { try compose(list) }
    return error.problems
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

    subscript(index: Int) -> Element {
        get { buffer[index] }
        set { buffer[index] = newValue }
    }

    var view: ArrayView {
        ArrayView(pointer: UnsafeMutableRawPointer(buffer.baseAddress!), element: element, shape: shape)
    }
}

/// Reproducible numbers in -1 ..< 1 (a linear congruential generator).
struct TestNumbers {
    private var state: UInt64

    init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }

    mutating func next() -> Double {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Double(state >> 11) * 0x1p-52 - 1
    }

    mutating func array(_ count: Int) -> [Double] { (0..<count).map { _ in next() } }
}

/// Largest difference between an analytic derivative and central differences of `loss`, over all elements of `input`.
func worstGradientError(
    _ input: TestArray<Float>, count: Int, step: Float, _ analytic: [Float], _ loss: () throws -> Double
) rethrows -> Double {
    var worst = 0.0
    for index in 0..<count {
        let value = input[index]
        input[index] = value + step
        let up = try loss()
        let high = input[index]
        input[index] = value - step
        let down = try loss()
        let low = input[index]
        input[index] = value
        worst = max(worst, abs((up - down) / Double(high - low) - Double(analytic[index])))
    }
    return worst
}
