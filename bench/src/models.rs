//! The tensors of networks that people train, by their lengths.

/// A list of tensors.
pub struct Model {
    /// What the table calls it.
    pub name: &'static str,
    /// The tensors' lengths, in order.
    pub lengths: Vec<usize>,
}

/// Real lists: two ResNets, a MobileNet, a recurrent network, and a thousand small tensors.
pub fn models() -> Vec<Model> {
    vec![
        Model {
            name: "ResNet-18",
            lengths: resnet(&[2, 2, 2, 2], false),
        },
        Model {
            name: "ResNet-50",
            lengths: resnet(&[3, 4, 6, 3], true),
        },
        Model {
            name: "MobileNetV2",
            lengths: mobilenet_v2(),
        },
        Model {
            name: "2-layer LSTM",
            lengths: lstm(10_000, 200, 2),
        },
        Model {
            name: "1,000 x 256",
            lengths: vec![256; 1000],
        },
    ]
}

/// A convolution without bias, and the two vectors of the normalization that follows.
fn conv(lengths: &mut Vec<usize>, from: usize, to: usize, kernel: usize, groups: usize) {
    lengths.extend([from / groups * to * kernel * kernel, to, to]);
}

/// He et al., "Deep Residual Learning" (2016), table 1.
fn resnet(blocks: &[usize; 4], bottleneck: bool) -> Vec<usize> {
    let mut lengths = Vec::new();
    conv(&mut lengths, 3, 64, 7, 1);
    let mut from = 64;
    for (stage, &count) in blocks.iter().enumerate() {
        let width = 64 << stage;
        let to = if bottleneck { 4 * width } else { width };
        for _ in 0..count {
            if bottleneck {
                conv(&mut lengths, from, width, 1, 1);
                conv(&mut lengths, width, width, 3, 1);
                conv(&mut lengths, width, to, 1, 1);
            } else {
                conv(&mut lengths, from, width, 3, 1);
                conv(&mut lengths, width, width, 3, 1);
            }
            if from != to {
                conv(&mut lengths, from, to, 1, 1);
            }
            from = to;
        }
    }
    lengths.extend([from * 1000, 1000]);
    lengths
}

/// Sandler et al., "MobileNetV2" (2018), table 2.
fn mobilenet_v2() -> Vec<usize> {
    let mut lengths = Vec::new();
    conv(&mut lengths, 3, 32, 3, 1);
    let mut from = 32;
    let stages = [
        (1, 16, 1),
        (6, 24, 2),
        (6, 32, 3),
        (6, 64, 4),
        (6, 96, 3),
        (6, 160, 3),
        (6, 320, 1),
    ];
    for (expansion, to, count) in stages {
        for _ in 0..count {
            let hidden = from * expansion;
            if expansion != 1 {
                conv(&mut lengths, from, hidden, 1, 1);
            }
            conv(&mut lengths, hidden, hidden, 3, hidden);
            conv(&mut lengths, hidden, to, 1, 1);
            from = to;
        }
    }
    conv(&mut lengths, from, 1280, 1, 1);
    lengths.extend([1280 * 1000, 1000]);
    lengths
}

/// An embedding, LSTM layers and a linear layer back to the words.
fn lstm(words: usize, width: usize, layers: usize) -> Vec<usize> {
    let mut lengths = vec![words * width];
    for _ in 0..layers {
        lengths.extend([4 * width * width, 4 * width * width, 4 * width, 4 * width]);
    }
    lengths.extend([words * width, words]);
    lengths
}

#[cfg(test)]
mod tests {
    use super::{mobilenet_v2, resnet};

    #[test]
    fn the_networks_have_their_published_sizes() {
        let resnet50 = resnet(&[3, 4, 6, 3], true);
        assert_eq!(
            (resnet50.len(), resnet50.iter().sum::<usize>()),
            (161, 25_557_032)
        );
        let resnet18 = resnet(&[2, 2, 2, 2], false);
        assert_eq!(
            (resnet18.len(), resnet18.iter().sum::<usize>()),
            (62, 11_689_512)
        );
        let mobilenet = mobilenet_v2();
        assert_eq!(
            (mobilenet.len(), mobilenet.iter().sum::<usize>()),
            (158, 3_504_872)
        );
    }
}
