internal import Kernels

/// Stands for matrix products being computed from operands rounded to bfloat16, multiplied exactly and summed in float32.
package struct BFloat16Products: Sendable {
    /// A processor that cannot multiply bfloat16.
    package struct Unsupported: Error, CustomStringConvertible {
        package let description: String
    }

    /// - Throws: ``Unsupported`` where bfloat16 would only be emulated.
    package init() throws {
        guard Self.isSupported else {
            throw Unsupported(
                description:
                    "products in bf16 need a processor with AVX512_BF16, which this one has not; use float32, the default"
            )
        }
    }

    /// Whether this processor multiplies bfloat16.
    package static var isSupported: Bool { ck_bf16_gemm_is_supported() != 0 }
}
