from .inner import place

if __name__ == "__main__":
    place(package=__package__)
