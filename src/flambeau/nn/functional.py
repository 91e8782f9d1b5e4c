"""Functions of neural networks: operators of the table under `nn.functional`, and compositions of them.

A name that the table defines comes from there; what is only composed here stands in the modules imported below.
"""

from flambeau import functional_ns as o
from flambeau.nn._distances import cosine_similarity, normalize, pairwise_distance
from flambeau.nn._losses import (
    LinearCrossEntropyOptions,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    cross_entropy,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    legacy_reduction,
    linear_cross_entropy,
    margin_ranking_loss,
    mse_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    nll_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)

globals().update(o.functional())
