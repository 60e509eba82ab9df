"""`python -m mnist_lab`: the verbs, and where to begin."""

VERBS = """\
mnist_lab, a research bench for MNIST. Each verb is a command, and also python -m mnist_lab.VERB;
each has --help with examples.

  mnist-train       train a network, or with -m sweep settings
  mnist-resume      go on where a run or a sweep stopped
  mnist-compare     which setting is better, by how much, and is that more than noise?
  mnist-evaluate    what a run's network gets right and wrong
  mnist-predict     read pictures of your own
  mnist-export      the network as files that other programs run
  mnist-demo        a page to draw on

Begin with:  mnist-train experiment=mlp_512
"""

if __name__ == "__main__":
    print(VERBS, end="")
