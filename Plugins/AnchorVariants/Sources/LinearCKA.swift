import PluginKit

extension FeatureDrift {
    /// One minus the linear centred kernel alignment of the features with their anchors, positions being the samples:
    ///
    ///     1 - |X'Y|_F^2 / (|X'X|_F |Y'Y|_F)            X, Y: centred, [positions, width]
    ///
    /// Writes its derivative times `scale` to the cotangent. With `K = XX'` and `L = YY'` this is
    /// `1/2 |K/|K| - L/|L||^2`, and the derivative `-2 (L - <K,L>/|K|^2 K) X / (|K| |L|)`; of the two forms the one with the
    /// smaller matrices is computed.
    func addLinearCKA(scale: Double) throws -> Double {
        let n = positions.count
        guard n > 1 else {
            throw PluginError(
                "distance=linear_cka compares positions with each other and needs two or more in a micro-batch: "
                    + "use a larger batch, or pooling=none")
        }
        // No drift is no loss, without the rounding of two long sums.
        guard squares > 0 else { return 0 }
        let x = Matrix(centring: features, positions, width)
        let y = Matrix(centring: anchors, positions, width)
        let isWide = width >= n
        let (xx, yy) =
            isWide ? (x.timesTransposed(x), y.timesTransposed(y)) : (x.transposedTimes(x), y.transposedTimes(y))
        let (xNorm, yNorm) = (xx.norm, yy.norm)
        guard xNorm > 0, yNorm > 0 else {
            throw PluginError("distance=linear_cka: the positions' features are all the same in this batch")
        }
        let derivative: Matrix
        let alignment: Double
        if isWide {
            var difference = 0.0
            for index in xx.elements.indices {
                let part = xx.elements[index] / xNorm - yy.elements[index] / yNorm
                difference += part * part
            }
            alignment = 1 - 0.5 * difference
            derivative = yy.adding(xx, times: -alignment * yNorm / xNorm).transposedTimes(x)
            fill(derivative, scale: -2 * scale / (xNorm * yNorm))
            return 0.5 * difference
        }
        let xy = x.transposedTimes(y)
        alignment = min(xy.norm * xy.norm / (xNorm * yNorm), 1)
        derivative = y.timesTransposed(xy).adding(x.timesTransposed(xx), times: -alignment * yNorm / xNorm)
        fill(derivative, scale: -2 * scale / (xNorm * yNorm))
        return 1 - alignment
    }

    private func fill(_ derivative: Matrix, scale: Double) {
        for (row, position) in positions.enumerated() {
            for column in 0..<width {
                cotangent.elements[position * width + column] = Float(scale * derivative.elements[row * width + column])
            }
        }
    }
}

/// A dense row-major matrix.
private struct Matrix {
    let rows: Int
    let columns: Int
    var elements: [Double]

    init(rows: Int, columns: Int) {
        self.rows = rows
        self.columns = columns
        elements = [Double](repeating: 0, count: rows * columns)
    }

    /// The positions as rows, less their mean.
    init(centring array: ArrayView<Float>, _ positions: [Int], _ width: Int) {
        self.init(rows: positions.count, columns: width)
        var mean = [Double](repeating: 0, count: width)
        for (row, position) in positions.enumerated() {
            for column in 0..<width {
                let value = Double(array.elements[position * width + column])
                elements[row * width + column] = value
                mean[column] += value
            }
        }
        for row in 0..<rows {
            for column in 0..<width { elements[row * width + column] -= mean[column] / Double(rows) }
        }
    }

    /// Frobenius norm.
    var norm: Double { product(elements, elements).squareRoot() }

    var transposed: Matrix {
        var result = Matrix(rows: columns, columns: rows)
        for row in 0..<rows {
            for column in 0..<columns { result.elements[column * rows + row] = elements[row * columns + column] }
        }
        return result
    }

    /// `A B'`
    func timesTransposed(_ other: Matrix) -> Matrix {
        var result = Matrix(rows: rows, columns: other.rows)
        elements.withUnsafeBufferPointer { a in
            other.elements.withUnsafeBufferPointer { b in
                for row in 0..<rows {
                    for column in 0..<other.rows {
                        result.elements[row * other.rows + column] = product(
                            a[row * columns..<(row + 1) * columns], b[column * columns..<(column + 1) * columns])
                    }
                }
            }
        }
        return result
    }

    /// `A' B`
    func transposedTimes(_ other: Matrix) -> Matrix { transposed.timesTransposed(other.transposed) }

    /// `A + factor * B`
    func adding(_ other: Matrix, times factor: Double) -> Matrix {
        var result = self
        for index in elements.indices { result.elements[index] += factor * other.elements[index] }
        return result
    }
}

/// The inner product, in four running sums.
func product(_ x: [Double], _ y: [Double]) -> Double {
    x.withUnsafeBufferPointer { x in y.withUnsafeBufferPointer { y in product(x[...], y[...]) } }
}

private func product(_ x: Slice<UnsafeBufferPointer<Double>>, _ y: Slice<UnsafeBufferPointer<Double>>) -> Double {
    let (a, b) = (UnsafeBufferPointer(rebasing: x), UnsafeBufferPointer(rebasing: y))
    let count = min(a.count, b.count)
    var sums = SIMD4<Double>.zero
    var index = 0
    while index + 4 <= count {
        let left = SIMD4(a[index], a[index + 1], a[index + 2], a[index + 3])
        sums += left * SIMD4(b[index], b[index + 1], b[index + 2], b[index + 3])
        index += 4
    }
    var sum = sums.sum()
    while index < count {
        sum += a[index] * b[index]
        index += 1
    }
    return sum
}
