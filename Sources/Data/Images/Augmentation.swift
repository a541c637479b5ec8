internal import Formats

/// The parameters of one image's augmentation, VLA-Adapter's training recipe.
///
/// Order: crop, brightness, contrast, saturation, hue; the image is clipped to [0, 1] after each.
package struct Augmentation: Equatable, Sendable {
    /// Side of the crop: 90 % of the area at ratio 1.
    package static let cropSide: Float = Float(0.9).squareRoot()

    /// Offsets of the crop as fractions of the image, in [0, 1 - cropSide).
    package var cropX: Float
    package var cropY: Float
    /// Added to every value, in [-0.2, 0.2).
    package var brightness: Float
    /// Factor on the distance from the channel's mean, in [0.8, 1.2).
    package var contrast: Float
    /// Factor on the HSV saturation, in [0.8, 1.2).
    package var saturation: Float
    /// Added to the HSV hue, in turns, in [-0.05, 0.05).
    package var hue: Float

    package init(cropX: Float, cropY: Float, brightness: Float, contrast: Float, saturation: Float, hue: Float) {
        (self.cropX, self.cropY, self.brightness) = (cropX, cropY, brightness)
        (self.contrast, self.saturation, self.hue) = (contrast, saturation, hue)
    }

    /// Draws one number for all parameters, as the reference does: it hands the same seed to every operation, so crops slide
    /// along the diagonal only and bright images are also saturated and warm.
    init(drawnFrom stream: inout RandomStream) {
        let drawn = stream.uniform()
        cropX = drawn * (1 - Self.cropSide)
        cropY = drawn * (1 - Self.cropSide)
        brightness = -0.2 + 0.4 * drawn
        contrast = 0.8 + 0.4 * drawn
        saturation = 0.8 + 0.4 * drawn
        hue = -0.05 + 0.1 * drawn
    }

    /// Applies the augmentation; the size stays.
    ///
    /// Bytes become floats as x / 255 and go back as floor(255.5 x), as `tf.image.convert_image_dtype` does.
    package func applied(to image: RGBImage) -> RGBImage {
        changed(image, box: CropBox(y: cropY, x: cropX, side: Self.cropSide))
    }

    /// The same without the crop.
    package func recoloured(_ image: RGBImage) -> RGBImage { changed(image, box: CropBox(y: 0, x: 0, side: 1)) }

    private func changed(_ image: RGBImage, box: CropBox) -> RGBImage {
        let pixelCount = image.height * image.width
        let pixels = [UInt8](unsafeUninitializedCapacity: pixelCount * 3) { out, count in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: pixelCount * 3) { floats in
                box.sample(image, into: floats)
                let mean = adjustBrightness(floats)
                for pixel in 0..<pixelCount {
                    let rgb = adjusted(
                        SIMD3(floats[3 * pixel], floats[3 * pixel + 1], floats[3 * pixel + 2]), mean: mean)
                    out[3 * pixel] = byte(rgb.x)
                    out[3 * pixel + 1] = byte(rgb.y)
                    out[3 * pixel + 2] = byte(rgb.z)
                }
            }
            count = pixelCount * 3
        }
        return RGBImage(height: image.height, width: image.width, pixels: pixels)
    }

    /// Clips, adds the brightness, clips; returns the channels' means, which contrast needs of the whole image.
    private func adjustBrightness(_ floats: UnsafeMutableBufferPointer<Float>) -> SIMD3<Float> {
        var sum = SIMD3<Double>.zero
        for pixel in 0..<(floats.count / 3) {
            for c in 0..<3 {
                let value = clip(clip(floats[3 * pixel + c]) + brightness)
                floats[3 * pixel + c] = value
                sum[c] += Double(value)
            }
        }
        return SIMD3<Float>(sum / Double(max(floats.count / 3, 1)))
    }

    private func adjusted(_ rgb: SIMD3<Float>, mean: SIMD3<Float>) -> SIMD3<Float> {
        rotated(saturated(clip((rgb - mean) * contrast + mean)))
    }

    /// With V and hue kept, a channel's distance from V is proportional to S = (V - min) / V.
    private func saturated(_ rgb: SIMD3<Float>) -> SIMD3<Float> {
        let high = max(rgb.x, rgb.y, rgb.z)
        let range = high - min(rgb.x, rgb.y, rgb.z)
        guard range > 0 else { return rgb }
        let factor = min(saturation, high / range)
        return clip(high - (high - rgb) * factor)
    }

    /// Moves the hue, in sixths of a turn, with the largest and smallest channel kept.
    private func rotated(_ rgb: SIMD3<Float>) -> SIMD3<Float> {
        let high = max(rgb.x, rgb.y, rgb.z)
        let low = min(rgb.x, rgb.y, rgb.z)
        let range = high - low
        guard range > 0 else { return rgb }
        var sector: Float
        if high == rgb.x {
            sector = (rgb.y - rgb.z) / range
        } else if high == rgb.y {
            sector = 2 + (rgb.z - rgb.x) / range
        } else {
            sector = 4 + (rgb.x - rgb.y) / range
        }
        sector += hue * 6
        if sector < 0 { sector += 6 }
        if sector >= 6 { sector -= 6 }
        // Each channel is a trapezoid of the hue: low for two sixths, high for two, linear in between.
        let ramp = SIMD3(abs(sector - 3) - 1, 2 - abs(sector - 2), 2 - abs(sector - 4))
        return clip(low + range * clip(ramp))
    }
}

/// A square part of an image, in fractions of its sides, that is stretched over the whole image.
struct CropBox {
    var y: Float
    var x: Float
    var side: Float

    /// The evaluator's view of a policy that was trained on random crops: the centre.
    static var centre: CropBox {
        let offset = (1 - Augmentation.cropSide) / 2
        return CropBox(y: offset, x: offset, side: Augmentation.cropSide)
    }

    /// Bilinear samples in [0, 1], as `tf.image.crop_and_resize`: y = y1 (H - 1) + i (y2 - y1) (H - 1) / (H - 1).
    func sample(_ image: RGBImage, into out: UnsafeMutableBufferPointer<Float>) {
        let columns = Self.positions(start: x, side: side, count: image.width)
        let row = image.width * 3
        image.pixels.withUnsafeBufferPointer { pixels in
            for (i, vertical) in Self.positions(start: y, side: side, count: image.height).enumerated() {
                let (upper, lower) = (vertical.low * row, vertical.high * row)
                for (j, horizontal) in columns.enumerated() {
                    let (left, right) = (horizontal.low * 3, horizontal.high * 3)
                    for c in 0..<3 {
                        let topLeft = Float(pixels[upper + left + c])
                        let bottomLeft = Float(pixels[lower + left + c])
                        let top = topLeft + (Float(pixels[upper + right + c]) - topLeft) * horizontal.fraction
                        let bottom = bottomLeft + (Float(pixels[lower + right + c]) - bottomLeft) * horizontal.fraction
                        out[i * row + 3 * j + c] = (top + (bottom - top) * vertical.fraction) * (1 / 255)
                    }
                }
            }
        }
    }

    private static func positions(start: Float, side: Float, count: Int) -> [(low: Int, high: Int, fraction: Float)] {
        let last = Float(count - 1)
        let step = count > 1 ? ((start + side) - start) * last / last : 0
        return (0..<count).map { i in
            // A box lies within the image; only rounding can leave it.
            let position = min(max(start * last + Float(i) * step, 0), last)
            let low = Int(position)
            return (low, min(low + 1, count - 1), position - Float(low))
        }
    }

    /// The part as an image of the same size.
    func cropped(_ image: RGBImage) -> RGBImage {
        let pixels = [UInt8](unsafeUninitializedCapacity: image.pixels.count) { out, count in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: image.pixels.count) { floats in
                sample(image, into: floats)
                for i in 0..<image.pixels.count { out[i] = byte(clip(floats[i])) }
            }
            count = image.pixels.count
        }
        return RGBImage(height: image.height, width: image.width, pixels: pixels)
    }
}

extension RGBImage {
    /// The centre crop of 90 % of the area, resized to the image's own size: the evaluator's input for policies that
    /// were trained with augmentation.
    package func centreCropped() -> RGBImage { CropBox.centre.cropped(self) }
}

private func clip(_ value: Float) -> Float { min(max(value, 0), 1) }

private func clip(_ value: SIMD3<Float>) -> SIMD3<Float> { SIMD3(clip(value.x), clip(value.y), clip(value.z)) }

/// floor(255.5 x), saturated.
private func byte(_ value: Float) -> UInt8 { UInt8(min(value * 255.5, 255)) }
